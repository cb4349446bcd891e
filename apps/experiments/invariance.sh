# 1. Do log-densities change under rotation, reflection, translation, permutation? docs/experiments/invariance.md
# Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw2 dw4 lj13)
known_fields=(radial dense augmented)
groups=(rotation reflection translation permutation)

defaults_quick() {
    default systems dw4
    default sizes 1000
    default steps 200
    default dense_steps "$steps"
    default batch_size 64
    default samples 1000
    default fields radial,dense,augmented
    default seeds 1
}

defaults_full() {
    default systems dw4,lj13
    default sizes 10000
    default steps 2000
    default dense_steps "$steps"
    default batch_size 64
    default samples 10000
    default fields radial,dense,augmented
    default seeds 1
}

experiment() {
    local system field seed
    one_size
    for system in ${systems//,/ }; do
        step "data-$system-test" "$system-test.npy" -- data "$system" -n "$samples" --seed 1000 -o "$system-test.npy"
        for seed in $(seq "$seeds"); do
            step "data-$system-$seed" "$system-$seed.npy" -- data "$system" -n "$sizes" --seed "$seed" -o "$system-$seed.npy"
            for field in ${fields//,/ }; do
                train_step "$system" "$field" "$seed" "$system-$seed.npy" "$system-$field-$seed"
                evaluate_step "$system-$field-$seed" "$system-test.npy"
            done
        done
    done
}

tabulate() {
    local system field seed group
    {
        echo system,field,group,median_change,largest_change
        for system in ${systems//,/ }; do
            for field in ${fields//,/ }; do
                for group in "${groups[@]}"; do
                    for seed in $(seq "$seeds"); do
                        echo "$system,$field,$group,$(figures "evaluate-$system-$field-$seed" ".log_prob_changes.$group | .median, .largest")"
                    done
                done
            done
        done
    } | keep runs.csv
    aggregate 3 <runs.csv | keep table.csv
}

# Bars on a logarithmic axis, from the smallest change that float32 could show.
draw() {
    local system field index=0 list=(${systems//,/ })
    {
        echo "set multiplot layout 1,${#list[@]}"
        echo "set logscale y; set yrange [1e-8:*]; set format y '10^{%T}'"
        echo "set ylabel 'change of log-density (nats)'; set key below horizontal"
        echo "set xrange [-0.6:3.6]; set xtics ('rotation' 0, 'reflection' 1, 'translation' 2, 'permutation' 3)"
        for system in "${list[@]}"; do
            echo "set title '$system: median (bar) and largest (line) of 256 configurations'"
            printf 'plot '
            index=0
            for field in ${fields//,/ }; do
                [ $index -eq 0 ] || printf ', '
                local at="(\$0 - 4 * floor(\$0 / 4) + 0.25 * ($index - 1))"
                printf "'< grep ^%s,%s, table.csv' using %s:(\$4 > 2e-8 ? \$4 : 2e-8):(0.22) with boxes fs solid 0.7 lc rgb '%s' title '%s', " \
                    "$system" "$field" "$at" "$(colour "$field")" "$field"
                printf "'< grep ^%s,%s, table.csv' using %s:(\$4 > 2e-8 ? \$4 : 2e-8):(\$4 > 2e-8 ? \$4 : 2e-8):(\$9 > 2e-8 ? \$9 : 2e-8) with yerrorbars pt 0 lc rgb '#333333'" \
                    "$system" "$field" "$at"
                index=$((index + 1))
            done
            echo
        done
        echo 'unset multiplot'
    } | picture invariance $((480 * ${#list[@]})) 400
}

read_out() {
    awk -F, 'NR > 1 && $3 != "translation" {
            key = $1 " " $2
            if ($9 > largest[key]) largest[key] = $9
            if (!(key in seen)) { seen[key] = 1; order[++num] = key }
        }
        END { for (k = 1; k <= num; k++) printf "%s: log-densities change by up to %.2g nats\n", order[k], largest[order[k]] }' table.csv
}
