# 6. What does a deep many-body field give, hop by hop? docs/experiments/message.md
# Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw2 dw4 lj13)
known_fields=(radial message-1 message-2 message-3)

defaults_quick() {
    default systems dw4
    default sizes 1000
    default steps 200
    default batch_size 64
    default samples 1000
    default fields radial,message-1,message-3
    default seeds 1
}

defaults_full() {
    default systems dw4,lj13
    default sizes 100000
    default steps 4000
    default batch_size 256
    default samples 10000
    default fields radial,message-1,message-2,message-3
    default seeds 1
}

# train_message SYSTEM FIELD SEED DATA MODEL: radial fields by likelihood, message fields by flow matching with the recipe's pairs and rates.
train_message() {
    local system=$1 field=$2 seed=$3 data=$4 model=$5 how=()
    case $field in
    radial) how=(--steps "$steps" --batch-size "$batch_size") ;;
    message-*)
        how=(--field message --num-hops "${field#message-}"
            --stage "flow-matching,steps=$steps,batch=$batch_size,interval=$(((steps + 9) / 10))")
        ;;
    esac
    step "train-$model" "$model.safetensors" "$model.csv" -- train "$system" --data "$data" "${how[@]}" --seed "$seed" \
        -o "$model.safetensors"
}

# Samples with their log-densities, twice: what one costs is the difference, start-up left out.
few_samples() { echo $(((samples + 9) / 10)); }
sample_steps() { # MODEL
    local num
    for num in $(few_samples) "$samples"; do
        step "sample-$1-$num" "$1-samples.npy" -- sample "$1.safetensors" -n "$num" --seed 3000 -o "$1-samples.npy"
        [ "$(few_samples)" -lt "$samples" ] || return 0
    done
}

each_model() { # COMMAND: with system, size, field, seed and model set
    local system size field seed model
    for system in ${systems//,/ }; do
        for size in ${sizes//,/ }; do
            for field in ${fields//,/ }; do
                for seed in $(seq "$seeds"); do
                    model=$system-$field-$size-$seed
                    "$1"
                done
            done
        done
    done
}

run_model() {
    train_message "$system" "$field" "$seed" "$system-$size-$seed.npy" "$model"
    evaluate_step "$model" "$system-test.npy"
    sample_steps "$model"
}

experiment() {
    local system size seed
    for system in ${systems//,/ }; do
        step "data-$system-test" "$system-test.npy" -- data "$system" -n "$samples" --seed 1000 -o "$system-test.npy"
        for size in ${sizes//,/ }; do
            for seed in $(seq "$seeds"); do
                step "data-$system-$size-$seed" "$system-$size-$seed.npy" -- data "$system" -n "$size" --seed "$seed" -o "$system-$size-$seed.npy"
            done
        done
    done
    each_model run_model
}

samples_a_second() { # MODEL
    jq -n --argjson few "$(few_samples)" --argjson all "$samples" --slurpfile a "steps/sample-$1-$(few_samples).json" \
        --slurpfile b "steps/sample-$1-$samples.json" \
        '($all - $few) / ([$b[0].wall_seconds - $a[0].wall_seconds, 1e-3] | max) | . * 10 | round / 10'
}

model_row() {
    echo "$system,$field,$size,$(figures "evaluate-$model" '.nll_refined, (if .kl_direct then .kl_direct + .nll_refined - .nll else null end), .reverse_kl, .ess_fraction, .ess_fraction_standard_error, .ess_fraction_data, .max_weight_fraction'),$(figures "train-$model" '.num_params, .seconds'),$(samples_a_second "$model")"
}

tabulate() {
    {
        echo system,field,samples,nll,kl,reverse_kl,ess_fraction,ess_uncertainty,ess_from_data,largest_weight,parameters,training_seconds,samples_a_second
        each_model model_row
    } | keep runs.csv
    aggregate 3 <runs.csv | keep table.csv
    published_rows | keep published.csv
}

# NLL without the prior's constant and ESS from 1e5 training samples: Klein, Kraemer and Noe, "Equivariant flow matching" (NeurIPS 2023), table 1.
published_rows() {
    cat <<'CSV'
system,method,nll_without_constant,ess_fraction
dw4,likelihood training of an equivariant graph network,1.72,0.869
dw4,OT flow matching,1.70,0.924
dw4,equivariant OT flow matching,1.68,0.887
lj13,likelihood training of an equivariant graph network,-15.83,0.398
lj13,OT flow matching,-16.09,0.544
lj13,equivariant OT flow matching,-16.07,0.580
CSV
}

colour_of() {
    case $1 in
    radial) echo "$colour_radial" ;;
    message-1) echo "$colour_augmented" ;;
    message-2) echo "$colour_fourth" ;;
    *) echo "$colour_dense" ;;
    esac
}

# A row a system: KL and effective sample size against the number of training samples; the best published as a line.
draw() {
    local system field list=(${systems//,/ }) separator axis best
    {
        echo "set multiplot layout ${#list[@]},2"
        echo "set logscale x; set format x '10^{%T}'; set xlabel 'training samples'; set bmargin 7; set key at graph 0.5, graph -0.29 center top horizontal maxrows 3"
        echo "set xrange [$(tr ',' '\n' <<<"$sizes" | sort -g | awk 'NR == 1 { low = $1 } END { printf "%g:%g", low / 1.6, $1 * 1.6 }')]"
        for system in "${list[@]}"; do
            best=$(published_rows | awk -F, -v s="$system" '$1 == s && $4 > best { best = $4 } END { print best }')
            for axis in kl ess; do
                if [ "$axis" = kl ]; then
                    echo "set logscale y; set yrange [*:*]; set format y '%g'; set ylabel 'KL(target || model), nats'"
                else
                    echo "unset logscale y; set yrange [0:1]; set ylabel 'effective sample size (fraction)'"
                fi
                echo "set title '$system'"
                printf 'plot '
                separator=
                for field in ${fields//,/ }; do
                    printf "%s'< grep ^%s,%s, table.csv' using 3:%s with yerrorlines pt 7 ps 0.6 lw 1.5 lc rgb '%s' title '%s'" "$separator" \
                        "$system" "$field" "$([ $axis = kl ] && echo 7:8:9 || echo 13:14:15)" "$(colour_of "$field")" "$field"
                    separator=', '
                done
                if [ "$axis" = ess ] && [ -n "$best" ]; then printf ", %s with lines dt 2 lc rgb '%s' title 'best published'" "$best" "$colour_target"; fi
                echo
            done
        done
        echo 'unset multiplot'
    } | picture message 860 $((340 * ${#list[@]}))
}

read_out() {
    published_rows | awk -F, '
        NR == FNR { if (FNR > 1 && $4 > published[$1]) { published[$1] = $4; method[$1] = $2 } next }
        FNR > 1 && $13 > best[$1] { best[$1] = $13; field[$1] = $2; size[$1] = $3; if (!($1 in seen)) { seen[$1] = 1; order[++num] = $1 } }
        END { for (k = 1; k <= num; k++) { s = order[k]
            printf "%s: best effective sample size %.3g (%s, %d training samples)", s, best[s], field[s], size[s]
            if (s in published) printf "; best published %.3g (%s, 100000)", published[s], method[s]
            print "" } }' - table.csv
}
