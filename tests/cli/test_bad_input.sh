#!/usr/bin/env bash
# Every bad input: one line on stderr, its documented exit code (docs/errors.md), nothing overwritten, nothing left
# behind.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

# Something good to start from, and files that must survive.
succeed "$eqflow" data dw2 -n 200 -o good.npy --quiet || finish
succeed "$eqflow" train dw2 --data good.npy -o good.safetensors --steps 5 --batch-size 16 --quiet || finish
for victim in out.npy log_prob.npy m.safetensors m.csv m.safetensors.checkpoint out.xyz report.html; do
    echo "a file of somebody else" >$victim
done

# ---- .npy -----------------------------------------------------------------------------------------------------------
head -c 500 good.npy >truncated.npy
{ cat good.npy; echo surplus; } >surplus.npy
{ printf 'X'; tail -c +2 good.npy; } >magic.npy
{ head -c 12 good.npy; printf 'garbage garbage '; tail -c +29 good.npy; } >header.npy
: >nothing.npy
f4_configurations | npy '<i4' False '(2, 2, 2)' int.npy
f4_configurations | npy '<f4' False '(1, 4, 2)' particles.npy
f4_configurations | npy '<f4' False '(8,)' flat.npy
f4_configurations | npy '<f4' False '(2, 2, 2, 1)' deep.npy
f4_configurations | npy '<f4' False '(99999999999, 99999999999, 2)' huge.npy
npy '<f4' False '(0, 2, 2)' empty.npy </dev/null
{ f4_configurations | head -c 28; printf '\0\0\300\177'; } | npy '<f4' False '(2, 2, 2)' nan.npy
{ f4_configurations | head -c 28; printf '\0\0\200\177'; } | npy '<f4' False '(2, 2, 2)' inf.npy
mkdir -p folder.npy
escape=$(printf 'esc\033[31m.npy')
cp int.npy "$escape"

for command in "log-prob good.safetensors -o out.npy" "evaluate good.safetensors --report report.html" \
    "train dw2 -o m.safetensors"; do
    for file in missing truncated surplus magic header nothing int particles flat deep huge empty nan inf folder; do
        # shellcheck disable=SC2086
        expect 3 "$file.npy" "$eqflow" $command --data $file.npy
    done
done
# Larger than memory, mostly a hole, and none of ours: refused by its beginning. (Elsewhere, as the files here are
# summed.)
giant=$vendors/giant
echo 'A trajectory of another program' >"$giant"
if truncate -s 200G "$giant" 2>/dev/null; then
    expect 3 'does not start like one' timeout 10 "$eqflow" log-prob good.safetensors -o out.npy --data "$giant"
    expect 3 'does not start like one' timeout 10 "$eqflow" sample "$giant" -n 5 -o out.npy
    expect 3 'is no potential: it is longer' timeout 10 "$eqflow" data --potential "$giant" --particles 2 --space-dim 2 -n 5 \
        -o out.npy
fi
rm -f "$giant"
# A name that would steer the terminal.
expect 3 'esc\?\[31m\.npy' "$eqflow" log-prob good.safetensors -o out.npy --data "$escape"
rm -f "$escape"
# Data beyond all reach: neither the learning rate nor the prior is to blame.
{ for _ in 1 2 3 4 5 6 7 8; do printf '\354\170\255\140\0\0\0\0\354\170\255\340\0\0\0\0'; done; } | npy '<f4' False '(8, 2, 2)' far.npy # 1e20
expect 7 'step 1 is not finite; look for .*far particles in the data' "$eqflow" train dw2 -o m.safetensors --data far.npy --steps 5 --quiet
expect 3 "the data's scale is .*beyond 1e-6 ... 1e6" "$eqflow" train dw2 -o m.safetensors --data far.npy --prior-scale data --quiet

# ---- Models ---------------------------------------------------------------------------------------------------------
head -c 3000 good.safetensors >truncated.safetensors
{ head -c 4000 good.safetensors; printf '\377'; tail -c +4002 good.safetensors; } >flipped.safetensors
head -c 4096 /dev/urandom >random.safetensors
header='{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} '
{ printf "\\$(printf %03o ${#header})\0\0\0\0\0\0\0%s\0\0\0\0" "$header"; } >foreign.safetensors
: >nothing.safetensors
for file in missing truncated flipped random foreign nothing; do
    expect 3 "$file.safetensors" "$eqflow" sample $file.safetensors -n 10 -o out.npy --log-prob log_prob.npy
    expect 3 "$file.safetensors" "$eqflow" log-prob $file.safetensors --data good.npy -o out.npy
    expect 3 "$file.safetensors" "$eqflow" evaluate $file.safetensors --report report.html
done
expect 3 'good.npy' "$eqflow" sample good.npy -n 10 -o out.npy

# ---- Checkpoints ----------------------------------------------------------------------------------------------------
cp good.safetensors model.checkpoint
for file in truncated flipped random foreign nothing; do
    expect 3 "$file.safetensors" "$eqflow" train dw2 --data good.npy -o m.safetensors --steps 5 --batch-size 16 --quiet \
        --resume --checkpoint $file.safetensors
done
expect 3 'model.checkpoint' "$eqflow" train dw2 --data good.npy -o m.safetensors --steps 5 --batch-size 16 --quiet --resume \
    --checkpoint model.checkpoint

# One wrong bit in the numbers of a checkpoint.
"$eqflow" train dw2 --data good.npy -o resumed.safetensors --steps 1000000 --batch-size 16 --quiet --checkpoint-interval 0 \
    >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
for _ in $(seq 1200); do
    [ -e resumed.safetensors.checkpoint ] && break
    sleep 0.05
done
kill -TERM $child
wait $child
size=$(stat -c %s resumed.safetensors.checkpoint)
printf 'x' | dd of=resumed.safetensors.checkpoint bs=1 seek=$((size - 4002)) conv=notrunc 2>/dev/null
expect 3 'checkpoint is damaged: .*checksum.*without --resume' "$eqflow" train dw2 --data good.npy -o resumed.safetensors \
    --steps 1000000 --batch-size 16 --quiet --checkpoint-interval 0 --resume

# ---- Devices --------------------------------------------------------------------------------------------------------
expect 5 'nosuchdevice' "$eqflow" data dw2 -n 10 -o out.npy --device nosuchdevice
expect 5 '99' "$eqflow" sample good.safetensors -n 10 -o out.npy --device 99
expect 5 'nosuchdevice' "$eqflow" devices --device nosuchdevice
expect 3 'there is no folder .*no-kernels to take kernels from' env EQFLOW_KERNEL_PATH=no-kernels "$eqflow" data dw2 -n 10 -o out.npy

# ---- Where results go -----------------------------------------------------------------------------------------------
expect 4 'no folder' "$eqflow" data dw2 -n 10 -o nowhere/out.npy
expect 4 'no folder' "$eqflow" train dw2 --data good.npy -o nowhere/m.safetensors
expect 4 'no folder' "$eqflow" train dw2 --data good.npy -o m.safetensors --checkpoint nowhere/checkpoint
expect 4 'no folder' "$eqflow" sample good.safetensors -n 10 -o out.npy --log-prob nowhere/log_prob.npy
expect 4 'no folder' "$eqflow" sample good.safetensors -n 10 -o out.npy --xyz nowhere/out.xyz
expect 4 'no folder' "$eqflow" log-prob good.safetensors --data good.npy -o nowhere/out.npy
expect 4 'no folder' "$eqflow" evaluate good.safetensors --report nowhere/report.html
expect 4 'folder' "$eqflow" data dw2 -n 10 -o folder.npy
[ -e /dev/full ] && expect 4 'device' "$eqflow" data dw2 -n 10 -o /dev/full
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod a-w locked
    expect 4 'not writable' "$eqflow" data dw2 -n 10 -o locked/out.npy
    chmod u+w locked
elif [ -d /proc/self ]; then # root may write everywhere but into the kernel's own files
    expect 4 'not writable' "$eqflow" data dw2 -n 10 -o /proc/out.npy
fi

# ---- What is read is not overwritten, whatever it is called ----------------------------------------------------------
cp "$source_root/apps/examples/morse.cl" .
cp good.npy log.csv
ln -s good.npy link.npy
ln -s . here
morse="--potential morse.cl --particles 3 --space-dim 2 --constant depth=2 --constant steepness=3 --constant r_min=1 --constant trap=1"
for name in good.npy ./good.npy here/good.npy link.npy; do
    expect 2 'would overwrite --data good.npy' "$eqflow" log-prob good.safetensors --data good.npy -o $name
    expect 2 'would overwrite --data good.npy' "$eqflow" evaluate good.safetensors --data good.npy --report $name
    expect 2 'would overwrite --data good.npy' "$eqflow" train dw2 --data good.npy -o $name
    expect 2 'would overwrite --data good.npy' "$eqflow" train dw2 --data good.npy -o m.safetensors --checkpoint $name
    expect 2 'would overwrite the input good.npy' "$eqflow" minima good.npy --preset dw2 --xyz $name
done
expect 2 'log.* would overwrite --data log.csv' "$eqflow" train dw2 --data log.csv -o log.safetensors
expect 2 'name one file' "$eqflow" train dw2 --data good.npy -o m.safetensors --checkpoint ./m.safetensors
expect 2 'name one file' "$eqflow" train dw2 --data good.npy -o m.safetensors --checkpoint here/m.csv
expect 2 'name one file' "$eqflow" sample good.safetensors -n 10 -o new.npy --log-prob ./new.npy
ln -s later.npy later_too.npy # to a file that is yet to be made
expect 2 'name one file' "$eqflow" sample good.safetensors -n 10 -o later.npy --log-prob later_too.npy
expect 2 'name one file' "$eqflow" sample good.safetensors -n 10 -o later_too.npy --log-prob here/later.npy
ln -s "$work/later.npy" here/later_three.npy
expect 2 'name one file' "$eqflow" sample good.safetensors -n 10 -o later_three.npy --log-prob later_too.npy
succeed "$eqflow" sample good.safetensors -n 10 -o later_too.npy --quiet
if [ -L later_too.npy ] && [ -f later.npy ] && [ ! -L later.npy ]; then pass; else fail "a dangling link is not followed"; fi
rm -f later.npy later_too.npy later_three.npy
ln -s circle.npy circle.npy
expect 4 'circle.npy' "$eqflow" sample good.safetensors -n 10 -o circle.npy
rm -f circle.npy
ln -s nowhere/out.npy dangling.npy
expect 4 'there is no folder .*nowhere' "$eqflow" sample good.safetensors -n 10 -o dangling.npy
rm -f dangling.npy
long=$(printf 'n%.0s' $(seq 251)).npy # of the longest length that a name may have
succeed "$eqflow" sample good.safetensors -n 10 -o "$long" --quiet
rm -f "$long"
expect 4 'n.npy: File name too long' "$eqflow" sample good.safetensors -n 10 -o "n$long"
expect 2 'name one file' "$eqflow" boltzmann good.safetensors -n 100 -o new.npy --energies here/new.npy
for option in -o --energies --histograms; do
    expect 2 "$option .*(would overwrite MODEL|name it .npy)" "$eqflow" boltzmann good.safetensors -n 100 $option ./good.safetensors
done
expect 2 'would overwrite MODEL|name it .npy' "$eqflow" sample good.safetensors -n 10 -o ./good.safetensors
expect 2 'would overwrite MODEL|name it .npy' "$eqflow" log-prob good.safetensors --data good.npy -o good.safetensors
expect 2 'would overwrite MODEL' "$eqflow" evaluate good.safetensors --report good.safetensors
# shellcheck disable=SC2086
expect 2 'would overwrite --potential' "$eqflow" data $morse -n 10 -o ./morse.cl
# shellcheck disable=SC2086
expect 2 'would overwrite --potential' "$eqflow" train $morse -o ./morse.cl
# shellcheck disable=SC2086
expect 2 '--prior-scale X is missing' "$eqflow" train $morse --data none -o new.safetensors
rm link.npy here

# ---- A full disk ----------------------------------------------------------------------------------------------------
full=full
mkdir $full
if mount -t tmpfs -o size=64k tmpfs $full 2>/dev/null; then
    echo "a file of somebody else" >$full/out.npy
    expect 4 'space' "$eqflow" data dw2 -n 10000 -o $full/out.npy --burn-in 100 --thinning 10 --quiet
    expect 4 'space' "$eqflow" sample good.safetensors -n 10000 -o $full/out.npy --quiet
    head -c 61440 /dev/zero >$full/ballast
    expect 4 'space' "$eqflow" train dw2 --data good.npy -o $full/m.safetensors --steps 5 --batch-size 16 --quiet
    umount $full
else
    echo "not tried: a full tmpfs (mounting one needs root)"
fi
# The same by the limit on file sizes; kernels are in OpenCL's cache by now.
limited() { (
    ulimit -f 20
    "$@"
); }
expect 4 'out.npy' limited "$eqflow" data dw2 -n 10000 -o out.npy --burn-in 100 --thinning 10 --quiet

# ---- Out of device memory: says what to reduce ----------------------------------------------------------------------
# PoCL counts in GB; other devices ignore the variable and need a batch that fits none of them.
expect 6 'memory|MiB|GB.*(batch|fewer)' env POCL_MEMORY_LIMIT=1 timeout 60 \
    "$eqflow" train dw2 --data good.npy -o m.safetensors --batch-size 16777216 --quiet

# ---- Diverged training ----------------------------------------------------------------------------------------------
expect 7 'diverged.*--learning-rate.*no model was written' "$eqflow" train dw2 --data good.npy -o m.safetensors --steps 50 \
    --batch-size 16 --learning-rate 1e30 --clip-norm 0 --warm-up 0 --quiet
expect 7 'diverged.*--learning-rate.*no model was written' "$eqflow" train dw2 --data good.npy -o m.safetensors --steps 50 \
    --batch-size 16 --learning-rate 1e308 --quiet
# After a good beginning the best model stays: the rate grows until it breaks.
"$eqflow" train dw2 --data good.npy -o late.safetensors --steps 40 --batch-size 16 --learning-rate 1e12 --clip-norm 0 \
    --warm-up 1000000000000 --validation-interval 1 --weight-decay 0 --quiet >stdout 2>stderr
code=$?
if [ $code -eq 7 ] && grep -q 'best model so far.*late.safetensors' stderr && [ "$(wc -l <stderr)" -eq 1 ]; then
    pass
    succeed "$eqflow" sample late.safetensors -n 10 -o late.npy
else
    fail "late divergence: exit code $code: $(cat stderr)"
fi
finish
