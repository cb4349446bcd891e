#!/usr/bin/env bash
# The gallery: listed, found by name by every command that reads a model, cards shown and true; a misspelt name answered
# in one line.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" gallery --json
num=$(grep -c '"card"' stdout)
[ "$num" -eq "$(find "$source_root/apps/gallery" -name '*.safetensors' | wc -l)" ] && pass || fail "$num models listed: $(cat stdout)"
succeed "$eqflow" gallery
wide=$(awk 'length > 80' stdout | grep -v ' in ')
if [ -z "$wide" ]; then pass; else fail "eqflow gallery: wider than 80 columns: $wide"; fi
if grep -Eq '^dw4-radial +dw4 +4 x 2 +radial +680 +0\.2[0-9]+ +0\.9[0-9]+$' stdout; then pass; else fail "no line of dw4-radial: $(cat stdout)"; fi
succeed "$eqflow" gallery dw4-radial
if grep -q '^# dw4-radial$' stdout; then pass; else fail "the card: $(head -3 stdout)"; fi

fail_with() { # CODE TEXT COMMAND...: fails so, in one line that has TEXT
    local code=$1 text=$2 got
    shift 2
    "$@" >stdout 2>stderr
    got=$?
    if [ $got -eq "$code" ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -q "$text" stderr; then pass; else fail "$*: exit code $got, $(cat stderr)"; fi
}
fail_with 2 "'dw4-raidal'; the nearest names: dw4-radial, " "$eqflow" sample gallery:dw4-raidal -n 10 -o x.npy
fail_with 2 "the nearest names: " "$eqflow" gallery ../../etc/passwd
mkdir own empty
EQFLOW_GALLERY=$work/empty fail_with 2 "holds no model" "$eqflow" gallery dw4-radial
EQFLOW_GALLERY=$work/nowhere fail_with 2 "EQFLOW_GALLERY names" "$eqflow" gallery
cp "$source_root/apps/gallery/dw2-radial.safetensors" own/mine.safetensors
EQFLOW_GALLERY=$work/own succeed "$eqflow" gallery
if grep -q '^mine .* - *-$' stdout; then pass; else fail "a model without a card: $(cat stdout)"; fi
EQFLOW_GALLERY=$work/own fail_with 3 "its card .*mine.md is not" "$eqflow" gallery mine
# A gallery of somebody else: neither cards nor names steer the terminal, names of other bytes are in the JSON too, and a
# pipe is no card.
printf '# A card \033[31mof\302\233 mine \302\261 1\n\tAnd more.\n' >own/mine.md
EQFLOW_GALLERY=$work/own succeed "$eqflow" gallery mine
if printf '# A card ?[31mof?? mine \302\261 1\n\tAnd more.\n' | cmp -s - stdout; then pass; else fail "a card that steers: $(od -c stdout | head -4)"; fi
cp own/mine.safetensors "own/$(printf 'w\366\033[31mter').safetensors"
EQFLOW_GALLERY=$work/own succeed "$eqflow" gallery
if ! grep -aq "$(printf '\033')" stdout && grep -aq '?\[31mter' stdout; then pass; else fail "a name that steers: $(od -c stdout | head -9)"; fi
EQFLOW_GALLERY=$work/own succeed "$eqflow" gallery --json
if [ "$(grep -c '"name":' stdout)" -eq 2 ]; then pass; else fail "a name in Latin 1 is not in the JSON: $(cat stdout)"; fi
rm own/w*
mkfifo own/mine.json
EQFLOW_GALLERY=$work/own succeed timeout 10 "$eqflow" gallery
EQFLOW_GALLERY=$work/own fail_with 3 "its card .*mine.json is not" timeout 10 "$eqflow" gallery mine --json
rm own/mine.json

"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
model=gallery:dw4-radial
succeed "$eqflow" sample $model -n 50 -o by_name.npy --log-prob by_name_log_prob.npy --quiet || finish
succeed "$eqflow" sample "$source_root/apps/gallery/dw4-radial.safetensors" -n 50 -o by_path.npy --quiet
same by_name.npy by_path.npy "by name and by path"
succeed "$eqflow" log-prob $model --data by_name.npy -o log_prob.npy --quiet
succeed "$eqflow" trajectory $model -n 2 --frames 3 -o way.npy --quiet
succeed "$eqflow" minima $model -n 20 --quiet
succeed "$eqflow" boltzmann $model -n 300 --quiet
succeed "$eqflow" evaluate $model -n 300 --num-data 100 --quiet

# Every card says what its figures say; that the figures are the model's is the test gallery.cards.
command -v python3 >/dev/null || skip "no python3: cards were not compared"
export EQFLOW_PROGRAM=$eqflow PYTHONDONTWRITEBYTECODE=1
succeed python3 "$source_root/apps/gallery/card.py" --check
# A figure that is wrong is found.
cp "$source_root"/apps/gallery/dw2-radial.* "$source_root/apps/gallery/card.py" own/
rm own/mine.safetensors
sed -i 's/"nll": 3\.[0-9]*/"nll": 3.2/' own/dw2-radial.json
fail_with 1 "nll is 3" python3 own/card.py --compare --quick
fail_with 1 "dw2-radial.md is not what" python3 own/card.py --check
finish
