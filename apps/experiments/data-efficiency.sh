# 2. Likelihood and effective sample size against the number of training samples. docs/experiments/data-efficiency.md
# Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw2 dw4 lj13)
known_fields=(radial dense augmented)

defaults_quick() {
    default systems dw4
    default sizes 100,1000
    default steps 200
    default dense_steps "$steps"
    default batch_size 64
    default samples 1000
    default fields radial,dense,augmented
    default seeds 1
}

defaults_full() {
    default systems dw2,dw4,lj13
    default sizes 10,100,1000,10000,100000
    default steps 2000
    default dense_steps "$steps"
    default batch_size 64
    default samples 10000
    default fields radial,dense,augmented
    default seeds 3
}

experiment() {
    local system field size seed data
    for system in ${systems//,/ }; do
        step "data-$system-test" "$system-test.npy" -- data "$system" -n "$samples" --seed 1000 -o "$system-test.npy"
        for size in ${sizes//,/ }; do
            for seed in $(seq "$seeds"); do
                data=$system-$size-$seed
                step "data-$data" "$data.npy" -- data "$system" -n "$size" --seed "$seed" -o "$data.npy"
                for field in ${fields//,/ }; do
                    train_step "$system" "$field" "$seed" "$data.npy" "$system-$field-$size-$seed"
                    evaluate_step "$system-$field-$size-$seed" "$system-test.npy"
                done
            done
        done
    done
}

# The NLL is the one with twice the integration steps.
tabulate() {
    local system field size seed model
    {
        echo system,field,samples,nll,kl,ess_fraction,training_seconds
        for system in ${systems//,/ }; do
            for size in ${sizes//,/ }; do
                for field in ${fields//,/ }; do
                    for seed in $(seq "$seeds"); do
                        model=$system-$field-$size-$seed
                        echo "$system,$field,$size,$(figures "evaluate-$model" '.nll_refined, (if .kl_direct then .kl_direct + .nll_refined - .nll else null end), .ess_fraction'),$(figures "train-$model" .seconds)"
                    done
                done
            done
        done
    } | keep runs.csv
    aggregate 3 <runs.csv | keep table.csv
}

# A row a system: KL and effective sample size.
draw() {
    local system field list=(${systems//,/ }) separator axis
    {
        echo "set multiplot layout ${#list[@]},2"
        echo "set logscale x; set format x '10^{%T}'; set xlabel 'training samples'; set bmargin 7; set key at graph 0.5, graph -0.29 center top horizontal"
        echo "set xrange [$(tr ',' '\n' <<<"$sizes" | sort -g | awk 'NR == 1 { low = $1 } END { printf "%g:%g", low / 1.6, $1 * 1.6 }')]"
        for system in "${list[@]}"; do
            for axis in kl ess; do
                if [ "$axis" = kl ]; then
                    echo "set logscale y; set yrange [*:*]; set format y '%g'; set ylabel 'KL(target || model), nats'"
                else
                    echo "unset logscale y; set yrange [0:*]; set ylabel 'effective sample size (fraction)'"
                fi
                echo "set title '$system'"
                printf 'plot '
                separator=
                for field in ${fields//,/ }; do
                    printf "%s'< grep ^%s,%s, table.csv' using 3:%s with yerrorlines pt 7 ps 0.6 lw 1.5 lc rgb '%s' title '%s'" "$separator" \
                        "$system" "$field" "$([ $axis = kl ] && echo 7:8:9 || echo 10:11:12)" "$(colour "$field")" "$field"
                    separator=', '
                done
                echo
            done
        done
        echo 'unset multiplot'
    } | picture data-efficiency 860 $((340 * ${#list[@]}))
}

# Which of two fields has the lower KL, where both were trained.
read_out() {
    awk -F, 'NR > 1 { kl[$1, $3, $2] = $7; low[$1, $3, $2] = $8; high[$1, $3, $2] = $9
            if (!(($1, $3) in seen)) { seen[$1, $3] = 1; system_of[++num] = $1; size_of[num] = $3 } }
        function compare(r, a, b,    A, B) {
            A = system_of[r] SUBSEP size_of[r] SUBSEP a; B = system_of[r] SUBSEP size_of[r] SUBSEP b
            if (!(A in kl) || !(B in kl)) return
            printf "%s, %d samples: %s %s %s by %.3g nats%s\n", system_of[r], size_of[r], a, kl[A] < kl[B] ? "beats" : "loses to", b,
                kl[A] < kl[B] ? kl[B] - kl[A] : kl[A] - kl[B], high[A] < low[B] || high[B] < low[A] ? "" : " (ranges over seeds overlap)"
        }
        END { for (r = 1; r <= num; r++) { compare(r, "radial", "augmented"); compare(r, "augmented", "dense") } }' table.csv
}
