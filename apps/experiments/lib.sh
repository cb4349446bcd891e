# Shared by the experiments: steps that are done once, tables, pictures, messages. Sourced by run.sh, which sets
# $program (eqflow), $out (the folder, where we are), $mode (plan: only count and print steps; run).
# An experiment NAME.sh defines
#   defaults_quick, defaults_full   set the sizes that no option has set
#   experiment                      its steps, each through `step`
#   tabulate                        writes runs.csv (a row a step) and table.csv (what the page shows)
#   draw                            a gnuplot script on stdout
#   read_out                        the reading that follows from the figures, lines on stdout
# shellcheck shell=bash disable=SC2154

say() { [ -n "$is_quiet" ] || printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
fail() { # CODE MESSAGE
    printf 'error: %s\n' "$2" >&2
    exit "$1"
}

# need TOOL PACKAGE
need() { command -v "$1" >/dev/null || fail 1 "$1 is not installed (Debian: apt install $2)"; }

# An option's value, or that of quick and full runs: default VARIABLE VALUE
default() { [ -n "${!1}" ] || printf -v "$1" %s "$2"; }

# ---- Steps ----------------------------------------------------------------------------------------

num_planned=0
num_done=0
num_run=0
device_name=

# What a step's result depends on: the program, the device, the arguments, the files among them.
step_key() { # OUTPUT,OUTPUT,... ARGUMENTS...
    local outputs=",$1," argument inputs=()
    shift
    for argument; do
        if [ -f "$argument" ] && [[ $outputs != *",$argument,"* ]]; then inputs+=("$(cksum "$argument")"); fi
    done
    jq -nc --arg version "$program_version" --arg device "$device_name" --arg inputs "${inputs[*]}" \
        '{version: $version, device: $device, command: $ARGS.positional, inputs: $inputs}' --args -- "$@"
}

is_done() { # RECORD KEY OUTPUTS...
    local record=$1 key=$2 output
    shift 2
    [ -f "$record" ] || return 1
    for output; do [ -f "$output" ] || return 1; done
    [ "$(jq -c .key "$record" 2>/dev/null)" = "$key" ]
}

# run_program RESULT LOG ARGUMENTS: eqflow in a process group of its own, so that Ctrl-C reaches it once, through stop.
child=
is_stopped=
run_program() {
    local result=$1 log=$2 code
    shift 2
    set -m
    "$program" "$@" >"$result" 2>"$log" </dev/null &
    child=$!
    set +m
    wait "$child"
    code=$?
    while [ -n "$is_stopped" ] && kill -0 "$child" 2>/dev/null; do wait "$child"; done # the signal had ended the first wait
    child=
    return "$code"
}

stop() {
    is_stopped=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}

check_stop() { [ -z "$is_stopped" ] || fail 130 "interrupted; the same command goes on where it stopped"; }

# step NAME [OUTPUT...] -- ARGUMENTS: runs `eqflow ARGUMENTS --json`; its result goes to steps/NAME.json with what it
# was made from, in one move at the end. A step that is there with the same key and its outputs is not run again; a
# training that was cut short goes on from its checkpoint.
step() {
    local name=$1 key record outputs=() began code extra=() joined
    shift
    while [ "$1" != -- ]; do
        outputs+=("$1")
        shift
    done
    shift
    if [ "$mode" = plan ]; then
        num_planned=$((num_planned + 1))
        [ -z "$is_dry" ] || printf 'eqflow %s\n' "$*"
        return 0
    fi
    num_done=$((num_done + 1))
    record=steps/$name.json
    joined=$(IFS=,; printf %s "${outputs[*]}")
    key=$(step_key "$joined" "$@")
    printf 'eqflow %s\n' "$*" >>commands.begun
    if is_done "$record" "$key" "${outputs[@]}"; then return 0; fi
    check_stop
    say "[$num_done/$num_planned] eqflow $*"
    rm -f "$record"
    if [ "$1" = train ] && [ -f "${outputs[0]}.checkpoint" ]; then
        if [ "$(cat "steps/$name.begun" 2>/dev/null)" = "$key" ]; then extra=(--resume); else rm -f "${outputs[0]}.checkpoint"; fi
    fi
    printf '%s\n' "$key" >"steps/$name.begun"
    began=$(date +%s.%N)
    run_program "steps/$name.result" "steps/$name.log" "$@" "${device_options[@]}" "${extra[@]}" --json --quiet
    code=$?
    if [ ${#extra[@]} -gt 0 ] && { [ "$code" -eq 2 ] || [ "$code" -eq 3 ]; }; then # the checkpoint is of no use: from the start
        rm -f "${outputs[0]}.checkpoint"
        run_program "steps/$name.result" "steps/$name.log" "$@" "${device_options[@]}" --json --quiet
        code=$?
    fi
    check_stop
    if [ "$code" -ne 0 ]; then
        fail "$code" "eqflow $1 ended with exit code $code: $(tail -n 1 "steps/$name.log" | sed 's/^eqflow [a-z-]*: //') (in $out: eqflow $*)"
    fi
    jq -n --argjson key "$key" --arg name "$name" --arg seconds "$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { printf "%.3f", b - a }')" \
        '{name: $name, key: $key, wall_seconds: ($seconds | tonumber), result: input}' "steps/$name.result" >"$record.new" ||
        fail 1 "eqflow $1 printed no JSON: steps/$name.result"
    mv "$record.new" "$record"
    rm -f "steps/$name.result" "steps/$name.begun"
    [ -s "steps/$name.log" ] || rm -f "steps/$name.log"
    num_run=$((num_run + 1))
}

# figures NAME FILTER: of a step, comma between, nan for what is not known.
figures() { jq -r ".result | [$2] | map(if . == null then \"nan\" else . end) | @csv" "steps/$1.json" | tr -d '"'; }

# ---- Steps that experiments share -------------------------------------------------------------------------

# one_size: for experiments that train on one number of samples.
one_size() { [[ $sizes != *,* ]] || fail 2 "--sizes $sizes: $name trains on one number of samples"; }

# The black-box field: about as many parameters as fit the system, Hutchinson's estimate in training (its gradient is
# unbiased; the exact trace takes (N-1) D directions a step), few integration steps (its field is smooth; nll_refined
# tells). What is measured afterwards is exact everywhere.
dense_options() { # SYSTEM
    case $1 in
    lj13) echo --field dense --width 128 --depth 2 --divergence rademacher --integration-steps 6 ;;
    *) echo --field dense --width 64 --depth 2 --divergence rademacher --integration-steps 6 ;;
    esac
}

# train_step SYSTEM FIELD SEED DATA MODEL [more options]: MODEL.safetensors, step train-MODEL.
train_step() {
    local system=$1 field=$2 seed=$3 data=$4 model=$5 options=() num_steps=$steps
    shift 5
    if [ "$field" != radial ]; then
        # shellcheck disable=SC2207
        options=($(dense_options "$system"))
        num_steps=$dense_steps
    fi
    [ "$field" != augmented ] || options+=(--augment)
    step "train-$model" "$model.safetensors" "$model.csv" -- train "$system" --data "$data" "${options[@]}" --batch-size "$batch_size" --steps "$num_steps" \
        --seed "$seed" -o "$model.safetensors" "$@"
}

# evaluate_step MODEL DATA [more options]: step evaluate-MODEL.
evaluate_step() {
    local model=$1 data=$2
    shift 2
    step "evaluate-$model" -- evaluate "$model.safetensors" --data "$data" -n "$samples" --seed 2000 "$@"
}

# ---- Arrays: little-endian float32 .npy --------------------------------------------------------------------

# npy FILE [PER_LINE]: its numbers, PER_LINE (1) on a line.
npy() {
    local header
    header=$(od -An -tu2 -j8 -N2 "$1")
    od -An -v -tf4 "-w$((4 * ${2:-1}))" "-j$((10 + header))" "$1"
}

# ---- Tables --------------------------------------------------------------------------------------------

# keep FILE: standard input becomes FILE, unless it is that already.
keep() {
    cat >"$1.new" || fail 4 "cannot write $out/$1"
    if cmp -s "$1.new" "$1"; then rm -f "$1.new"; else mv "$1.new" "$1"; fi
}

# aggregate NUM_KEYS: CSV with a header on stdin; rows with the same first NUM_KEYS columns become one: each other
# column X as its mean X, X_low and X_high (smallest, largest) over seeds, num_seeds at the end. A column that is nan in
# one row is nan.
aggregate() {
    awk -F, -v OFS=, -v K="$1" '
        NR == 1 {
            for (c = 1; c <= K; c++) head = head (c > 1 ? OFS : "") $c
            for (c = K + 1; c <= NF; c++) head = head OFS $c OFS $c "_low" OFS $c "_high"
            print head, "num_seeds"
            columns = NF
            next
        }
        {
            key = $1
            for (c = 2; c <= K; c++) key = key OFS $c
            if (!(key in count)) keys[++num] = key
            count[key]++
            for (c = K + 1; c <= columns; c++) {
                at = key SUBSEP c
                if ($c == "nan") { bad[at] = 1; continue }
                sum[at] += $c
                if (!(at in low) || $c + 0 < low[at]) low[at] = $c + 0
                if (!(at in high) || $c + 0 > high[at]) high[at] = $c + 0
            }
        }
        END {
            for (r = 1; r <= num; r++) {
                line = keys[r]
                for (c = K + 1; c <= columns; c++) {
                    at = keys[r] SUBSEP c
                    line = line OFS (bad[at] ? "nan,nan,nan" : sprintf("%.6g,%.6g,%.6g", sum[at] / count[keys[r]], low[at], high[at]))
                }
                print line, count[keys[r]]
            }
        }'
}

# markdown: CSV on stdin as a table; numbers to four significant digits or as whole numbers, nan as -. X, X_low, X_high
# become one cell "X (low ... high)" where more than one seed stands behind it, X and X_error become "X ± error".
markdown() {
    awk -F, '
        function shorten(x) {
            if (x == "nan") return "-"
            if (x !~ /^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$/) return x
            return x == int(x) && x < 1e7 && x > -1e7 ? sprintf("%d", x) : sprintf("%.4g", x)
        }
        NR == 1 {
            line = "|"; rule = "|"
            for (c = 1; c <= NF; c++) {
                if ($c ~ /_(low|high|error)$/) { skip[c] = 1; continue }
                if ($(c + 1) == $c "_low") has_range[c] = 1
                if ($(c + 1) == $c "_error") has_error[c] = 1
                title = $c; gsub(/_/, " ", title)
                line = line " " title " |"; rule = rule "---|"
                if ($c == "num_seeds") seeds = c
            }
            print line; print rule
            next
        }
        {
            line = "|"
            for (c = 1; c <= NF; c++) {
                if (c in skip) continue
                cell = shorten($c)
                if ((c in has_range) && $seeds > 1 && $c != "nan" && $(c + 1) != $(c + 2)) {
                    cell = cell " (" shorten($(c + 1)) " ... " shorten($(c + 2)) ")"
                }
                if ((c in has_error) && $(c + 1) != "nan") cell = cell sprintf(" ± %.2g", $(c + 1))
                line = line " " cell " |"
            }
            print line
        }'
}

# ---- Pictures ----------------------------------------------------------------------------------------------

# Colours that the colour-blind can tell apart (Okabe and Ito), the same for a field in every picture.
readonly colour_radial='#0072b2' colour_dense='#d55e00' colour_augmented='#e69f00' colour_target='#444444'
readonly colour_fourth='#009e73' colour_fifth='#cc79a7'

colour() { # FIELD or what else a curve is of
    case $1 in
    radial) echo "$colour_radial" ;;
    dense) echo "$colour_dense" ;;
    augmented) echo "$colour_augmented" ;;
    equilibrium | rademacher) echo "$colour_fourth" ;;
    noise | gaussian) echo "$colour_fifth" ;;
    *) echo "$colour_target" ;;
    esac
}

# picture NAME WIDTH HEIGHT: the gnuplot script on stdin as NAME.svg and NAME.png; the script stays as NAME.gp.
picture() {
    local kind terminal
    keep "$1.gp"
    for kind in svg png; do
        terminal="pngcairo size $2,$3 font 'sans,10'"
        [ "$kind" = png ] || terminal="svg size $2,$3 font 'sans,11' background 'white'"
        {
            printf "set terminal %s\nset output '%s.drawn'\nset datafile separator ','\n" "$terminal" "$1.$kind"
            printf "set border 3 lc rgb '#888888'\nset tics nomirror\nset grid lc rgb '#e6e6e6' lt 1\nset key noautotitle\n"
            cat "$1.gp"
            printf 'unset output\n'
        } | gnuplot --default-settings 2>"$1.log" || fail 1 "gnuplot did not draw $1.$kind: $(head -n 1 "$1.log")"
        [ -s "$1.$kind.drawn" ] || fail 1 "gnuplot drew an empty $1.$kind; see $out/$1.log"
        keep "$1.$kind" <"$1.$kind.drawn"
        rm -f "$1.$kind.drawn"
    done
    [ -s "$1.log" ] || rm -f "$1.log"
}
