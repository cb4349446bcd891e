# 3. Trained on samples and energy: are energies reweighted to the target without bias? docs/experiments/boltzmann.md
# Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw2 dw4 lj13)
known_fields=(radial dense augmented)
losses=(nll mixture)
loss_options() { if [ "$1" = nll ]; then echo --loss nll; else echo --loss mixture --num-generated "$batch_size"; fi; }

defaults_quick() {
    default systems dw4
    default sizes 1000
    default steps 200
    default dense_steps "$(((steps + 3) / 4))"
    default batch_size 64
    default samples 10000
    default fields radial,dense
    default seeds 1
}

defaults_full() {
    default systems dw4
    default sizes 10000
    default steps 4000
    default dense_steps "$(((steps + 1) / 2))"
    default batch_size 256
    default samples 100000
    default fields radial,dense
    default seeds 1
}

experiment() {
    local system field loss seed model
    one_size
    for system in ${systems//,/ }; do
        step "data-$system-mcmc" "$system-mcmc.npy" "$system-mcmc-energies.npy" -- data "$system" -n "$samples" --seed 1000 \
            -o "$system-mcmc.npy" --energies "$system-mcmc-energies.npy"
        for seed in $(seq "$seeds"); do
            step "data-$system-$seed" "$system-$seed.npy" -- data "$system" -n "$sizes" --seed "$seed" -o "$system-$seed.npy"
            for field in ${fields//,/ }; do
                for loss in "${losses[@]}"; do
                    model=$system-$field-$loss-$seed
                    train_step "$system" "$field" "$seed" "$system-$seed.npy" "$model" $(loss_options "$loss")
                    step "evaluate-$model" -- evaluate "$model.safetensors" --num-data "$((samples / 10))" -n "$((samples / 10))" --seed 2000
                    step "boltzmann-$model" "$model-histograms.csv" -- boltzmann "$model.safetensors" -n "$samples" --seed "$seed" \
                        --histograms "$model-histograms.csv" --bins 60
                done
            done
        done
    done
}

# deviation: of a mean energy from that of Monte Carlo, in standard errors of both.
deviation() { # MEAN ERROR MEAN ERROR
    awk -v a="$1" -v b="$2" -v c="$3" -v d="$4" 'BEGIN {
        if (a == "nan" || b == "nan") print "nan"
        else printf "%.3g", (a - c) / sqrt(b * b + d * d)
    }'
}

tabulate() {
    local system field loss seed model of_data weighed chain from_model
    {
        echo system,field,loss,seed,kl,ess_fraction,ess_fraction_error,energy_model,energy_reweighted,energy_reweighted_error,reweighted_deviation,energy_chain,energy_chain_error,chain_deviation,acceptance,energy_mcmc,energy_mcmc_error
        for system in ${systems//,/ }; do
            IFS=, read -r -a of_data <<<"$(figures "data-$system-mcmc" '.mean_energy, .mean_energy_standard_error')"
            for field in ${fields//,/ }; do
                for loss in "${losses[@]}"; do
                    for seed in $(seq "$seeds"); do
                        model=$system-$field-$loss-$seed
                        IFS=, read -r -a weighed <<<"$(figures "boltzmann-$model" '.mean_energy_reweighted, .mean_energy_reweighted_standard_error')"
                        IFS=, read -r -a chain <<<"$(figures "boltzmann-$model" '.mean_energy_chain, .mean_energy_chain_standard_error')"
                        from_model=$(figures "evaluate-$model" '.mean_energy_model')
                        echo "$system,$field,$loss,$seed,$(figures "evaluate-$model" '(if .kl_direct then .kl_direct + .nll_refined - .nll else null end)'),$(figures "boltzmann-$model" '.ess_fraction, .ess_fraction_standard_error'),$from_model,${weighed[0]},${weighed[1]},$(deviation "${weighed[@]}" "${of_data[@]}"),${chain[0]},${chain[1]},$(deviation "${chain[@]}" "${of_data[@]}"),$(figures "boltzmann-$model" .acceptance),${of_data[0]},${of_data[1]}"
                    done
                done
            done
        done
    } | keep runs.csv
    keep table.csv <runs.csv
}

# Energies of the first seed: the model's samples, the same reweighted, Monte Carlo. Axes follow Monte Carlo.
draw() {
    local system field loss model low high top columns=${#losses[@]}
    for system in ${systems//,/ }; do
        npy "$system-mcmc-energies.npy" | sort -g | awk '
            { energy[NR] = $1 }
            END {
                low = energy[1]; width = (energy[NR] - low) / 40 + 1e-9
                for (b = 1; b <= NR; b++) count[int((energy[b] - low) / width)]++
                print "energy,density"
                for (k = 0; k <= 40; k++) printf "%.6g,%.6g\n", low + (k + 0.5) * width, count[k] / (NR * width)
            }' | keep "$system-mcmc.csv"
    done
    {
        for system in ${systems//,/ }; do
            IFS=, read -r low high top <<<"$(awk -F, 'NR > 1 { if (NR == 2) low = $1; high = $1; if ($2 > top) top = $2 } END { printf "%.6g,%.6g,%.6g", low - 1, high + 1, 1.4 * top }' "$system-mcmc.csv")"
            for field in ${fields//,/ }; do
                for loss in "${losses[@]}"; do
                    model=$system-$field-$loss-1
                    echo "set xrange [$low:$high]; set yrange [0:$top]"
                    echo "set title '$system, $field, trained on $([ "$loss" = nll ] && echo samples || echo 'samples and energy')'"
                    printf "plot '< grep ^energy, %s-histograms.csv' using ((\$2+\$3)/2):4 with histeps lw 1.5 lc rgb '%s' title 'model', " "$model" "$(colour "$field")"
                    printf "'< grep ^energy, %s-histograms.csv' using ((\$2+\$3)/2):6:7 with yerrorbars pt 7 ps 0.4 lc rgb '%s' title 'reweighted', " "$model" "$colour_fourth"
                    printf "'%s-mcmc.csv' using 1:2 with lines lw 1.5 lc rgb '%s' title 'Monte Carlo'\n" "$system" "$colour_target"
                done
            done
        done
        echo 'unset multiplot'
    } >boltzmann.plots
    {
        echo "set multiplot layout $(($(wc -w <<<"${systems//,/ }") * $(wc -w <<<"${fields//,/ }"))),$columns"
        echo "set xlabel 'energy (kT)'; set ylabel 'density'; set key top right"
        cat boltzmann.plots
    } | picture boltzmann $((440 * columns)) $((320 * $(wc -w <<<"${systems//,/ }") * $(wc -w <<<"${fields//,/ }")))
    rm -f boltzmann.plots
}

read_out() {
    awk -F, 'NR > 1 {
        printf "%s %s, %s: ESS %.3g; reweighted energy %.2f standard errors from Monte Carlo, the chain %.2f: %s\n", $1, $2, $3, $6, $11, $14,
            ($11 < 3 && $11 > -3 && $14 < 3 && $14 > -3) ? "no bias seen" : "BIASED or too few samples"
    }' table.csv
}
