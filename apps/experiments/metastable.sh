# 4. Trained around one minimum: how many distinct minima do the samples fall into? docs/experiments/metastable.md
# Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw4 lj13)
known_fields=(radial dense augmented)
losses=(nll mixture)
loss_options() { if [ "$1" = nll ]; then echo --loss nll; else echo --loss mixture --num-generated "$batch_size"; fi; }

defaults_quick() {
    default systems dw4
    default sizes 1000
    default steps 200
    default dense_steps "$(((steps + 3) / 4))"
    default batch_size 64
    default samples 1000
    default fields radial,dense
    default seeds 1
}

defaults_full() {
    default systems dw4,lj13
    default sizes 1000
    default steps 2000
    default dense_steps "$(((steps + 3) / 4))"
    default batch_size 64
    default samples 10000
    default fields radial,dense
    default seeds 1
}

# Standard deviation of the noise: about what kT allows in the minimum.
noise_of() { if [ "$1" = lj13 ]; then echo 0.05; else echo 0.1; fi; }

experiment() {
    local system field loss seed model
    one_size
    for system in ${systems//,/ }; do
        step "minima-$system-random" -- minima "$system" -n "$samples" --seed 1000
        step "data-$system-mcmc" "$system-mcmc.npy" -- data "$system" -n "$samples" --seed 1000 -o "$system-mcmc.npy"
        step "minima-$system-mcmc" -- minima "$system-mcmc.npy" --preset "$system"
        for seed in $(seq "$seeds"); do
            step "data-$system-noise-$seed" "$system-noise-$seed.npy" -- data "$system" -n "$sizes" --noise "$(noise_of "$system")" \
                --seed "$seed" -o "$system-noise-$seed.npy"
            step "minima-$system-noise-$seed" -- minima "$system-noise-$seed.npy" --preset "$system"
            for field in ${fields//,/ }; do
                for loss in "${losses[@]}"; do
                    model=$system-$field-$loss-$seed
                    train_step "$system" "$field" "$seed" "$system-noise-$seed.npy" "$model" $(loss_options "$loss")
                    step "minima-$model" -- minima "$model.safetensors" -n "$samples" --seed "$seed"
                done
            done
        done
    done
}

# A step's name, and what the table calls it: SOURCE LOSS.
sources() { # SYSTEM SEED
    local field loss
    echo "minima-$1-noise-$2 noise -"
    for field in ${fields//,/ }; do
        for loss in "${losses[@]}"; do echo "minima-$1-$field-$loss-$2 $field $loss"; done
    done
    echo "minima-$1-mcmc equilibrium -"
    echo "minima-$1-random random -"
}

tabulate() {
    local system seed record source loss
    {
        echo system,samples_of,loss,distinct_minima,fraction_in_lowest,lowest_energy,without_minimum
        for system in ${systems//,/ }; do
            for seed in $(seq "$seeds"); do
                sources "$system" "$seed" | while read -r record source loss; do
                    echo "$system,$source,$loss,$(figures "$record" '.num_minima, ((.minima[0].count // 0) / .num_configurations), .minima[0].energy, (.num_configurations - .num_at_minima)')"
                done
            done
        done
    } | keep runs.csv
    aggregate 3 <runs.csv | keep table.csv
}

# First seed. Few minima: which share of the samples falls into each; many: how many were found up to an energy.
draw() {
    local system record source loss separator list=(${systems//,/ }) dash few index count
    {
        echo "set multiplot layout 1,${#list[@]}; set bmargin 10; set key at graph 0.5, graph -0.24 center top horizontal maxrows 4"
        for system in "${list[@]}"; do
            few=$(figures "minima-$system-random" 'if .num_minima <= 10 then "yes" else "no" end')
            echo "set title '$system: $samples samples quenched'"
            if [ "$few" = yes ]; then
                echo "set xlabel 'energy of the minimum (kT)'; set ylabel 'fraction of the samples'; unset logscale y; set yrange [0:*]; set style fill solid 0.7"
                echo "set xrange [-0.6:$(figures "minima-$system-random" .num_minima) - 0.4]"
            else
                echo "set xlabel 'energy (kT)'; set ylabel 'distinct minima found up to it'; set logscale y; set yrange [0.8:*]; set xrange [*:*]; set xtics auto"
            fi
            printf 'plot '
            separator=
            index=0
            count=$(sources "$system" 1 | wc -l)
            while read -r record source loss; do
                spectrum "$system" "$record"
                dash=1
                [ "$loss" != nll ] || dash=2
                if [ "$few" = yes ]; then
                    printf "%s'%s-spectrum.csv' every ::1 using (\$0 + %s):3:(%s)%s with boxes lc rgb '%s' %s title '%s'" "$separator" "$record" \
                        "$(awk -v i="$index" -v n="$count" 'BEGIN { print (i - (n - 1) / 2) * 0.8 / n }')" "$(awk -v n="$count" 'BEGIN { print 0.75 / n }')" \
                        "$([ "$index" -gt 0 ] || echo ':xtic(1)')" "$(colour "$source")" "$([ "$loss" = nll ] && echo 'fs pattern 4')" "$source$([ "$loss" = - ] || echo ", $loss")"
                else
                    printf "%s'%s-spectrum.csv' every ::1 using 1:2 with steps lw 1.8 dt %s lc rgb '%s' title '%s'" "$separator" "$record" "$dash" \
                        "$(colour "$source")" "$source$([ "$loss" = - ] || echo ", $loss")"
                fi
                separator=', '
                index=$((index + 1))
            done < <(sources "$system" 1)
            echo
        done
        echo 'unset multiplot'
    } | picture metastable $((520 * ${#list[@]})) 440
}

# RECORD-spectrum.csv: energy, rank, fraction. Few minima: a row for each of those that random starts find, in that
# order.
spectrum() { # SYSTEM RECORD
    {
        echo energy,num_minima,fraction
        jq -r --slurpfile random "steps/minima-$1-random.json" '
            def near($a; $b): ($a - $b | if . < 0 then -. else . end) < 1e-3;
            .result as $found | $random[0].result as $all
            | if $all.num_minima <= 10 then
                $all.minima | to_entries[] | .key as $k | .value.energy as $e
                | [$e, $k + 1, ([$found.minima[] | select(near(.energy; $e)) | .fraction] | add // 0)]
              else
                $found.minima | sort_by(.energy) | to_entries[] | [.value.energy, .key + 1, .value.fraction]
              end
            | @csv' "steps/$2.json" | awk -F, '{ printf "%.2f,%d,%.6g\n", $1, $2, $3 }'
    } | keep "$2-spectrum.csv"
}

read_out() {
    awk -F, 'NR > 1 { printf "%s, %s%s: %d distinct minima, %.1f %% of the samples in the lowest\n", $1, $2, $3 == "-" ? "" : " trained by " $3, $4, 100 * $7 }' table.csv
}
