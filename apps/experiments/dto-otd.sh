# 5. DTO against OTD; the integrator gamed and cured; exact divergence, brute force, Hutchinson.
# docs/experiments/dto-otd.md. Lists of options are words without blanks, meant to be split.
# shellcheck shell=bash disable=SC2016,SC2034,SC2046,SC2154,SC2206
known_systems=(dw2 dw4 lj13)
known_fields=(radial dense)
divergences=(exact rademacher gaussian)

defaults_quick() {
    default systems dw2
    default sizes 1000
    default steps 100
    default dense_steps "$(((steps + 3) / 4))"
    default batch_size 64
    default samples 1000
    default fields radial,dense
    default seeds 1
}

defaults_full() {
    default systems dw2,dw4
    default sizes 1000
    default steps 2000
    default dense_steps "$(((steps + 3) / 4))"
    default batch_size 64
    default samples 10000
    default fields radial,dense
    default seeds 1
}

has_field() { [[ ,$fields, == *",$1,"* ]]; }

# Trainings of the radial field: what the table calls it, then its options. plain is Adam without the guards, at a rate
# that shows what they are for: the loss falls by what RK4's 20 steps get wrong. cured is the same with the integration
# penalty alone.
trainings=(dto otd plain cured)
training_options() {
    case $1 in
    dto) echo --gradient dto ;;
    otd) echo --gradient otd ;;
    plain) echo --gradient dto --learning-rate 0.02 --clip-norm 0 --integration-penalty 0 ;;
    cured) echo --gradient dto --learning-rate 0.02 --clip-norm 0 ;;
    esac
}

# Hutchinson's noise differs with the seed; the exact divergence needs one.
noise_seeds() { if [ "$1" = exact ]; then echo 1; else echo 1 2 3 4; fi; }

experiment() {
    local system seed training how field noise
    one_size
    for system in ${systems//,/ }; do
        step "data-$system-test" "$system-test.npy" -- data "$system" -n "$samples" --seed 1000 -o "$system-test.npy"
        for seed in $(seq "$seeds"); do
            step "data-$system-$seed" "$system-$seed.npy" -- data "$system" -n "$sizes" --seed "$seed" -o "$system-$seed.npy"
            if has_field radial; then
                for training in "${trainings[@]}"; do
                    train_step "$system" radial "$seed" "$system-$seed.npy" "$system-$training-$seed" $(training_options "$training")
                    evaluate_step "$system-$training-$seed" "$system-test.npy"
                    step "dopri5-$system-$training-$seed" -- evaluate "$system-$training-$seed.safetensors" --data "$system-test.npy" \
                        -n "$samples" --seed 2000 --integrator dopri5 --rtol 1e-5
                done
                divergence_steps "$system" "dto-$seed" exact
            fi
            if has_field dense; then
                for how in "${divergences[@]}"; do
                    step "train-$system-dense-$how-$seed" "$system-dense-$how-$seed.safetensors" -- train "$system" \
                        --data "$system-$seed.npy" --field dense --width 64 --depth 2 --divergence "$how" --integration-steps 6 \
                        --batch-size "$batch_size" --steps "$dense_steps" --seed "$seed" -o "$system-dense-$how-$seed.safetensors"
                    evaluate_step "$system-dense-$how-$seed" "$system-test.npy"
                    divergence_steps "$system" "dense-exact-$seed" "$how"
                done
            fi
        done
    done
}

# Log-densities of one model with each divergence, and its effective sample size with it.
divergence_steps() { # SYSTEM MODEL HOW
    local noise
    for noise in $(noise_seeds "$3"); do
        step "log-prob-$1-$2-$3-$noise" "$1-$2-$3-$noise.npy" -- log-prob "$1-$2.safetensors" --data "$1-test.npy" \
            --divergence "$3" --seed "$noise" -o "$1-$2-$3-$noise.npy"
    done
    [ "$3" = exact ] || step "ess-$1-$2-$3" -- evaluate "$1-$2.safetensors" --data "$1-test.npy" -n "$samples" --seed 2000 --divergence "$3"
}

# noise_sd SYSTEM MODEL HOW: root mean square over configurations and noises of log_prob - exact log_prob, nats.
noise_sd() {
    local noise
    if [ "$3" = exact ]; then
        echo 0
        return
    fi
    for noise in $(noise_seeds "$3"); do
        paste -d' ' <(npy "$1-$2-exact-1.npy") <(npy "$1-$2-$3-$noise.npy")
    done | awk '{ sum += ($2 - $1)^2; n++ } END { printf "%.6g", sqrt(sum / n) }'
}

seconds_of() { # SYSTEM MODEL HOW: of one configuration's log-density, the start of the program not counted
    figures "log-prob-$1-$2-$3-1" '.seconds / .num_data'
}

tabulate() {
    local system seed training how ess
    {
        echo system,training,nll_20_steps,nll_40_steps,nll_dopri5,kl_dopri5,ess_dopri5,training_seconds
        for system in ${systems//,/ }; do
            if has_field radial; then
                for training in "${trainings[@]}"; do
                    for seed in $(seq "$seeds"); do
                        echo "$system,$training,$(figures "evaluate-$system-$training-$seed" '.nll, .nll_refined'),$(figures "dopri5-$system-$training-$seed" '.nll, .kl_direct, .ess_fraction'),$(figures "train-$system-$training-$seed" .seconds)"
                    done
                done
            fi
        done
    } | keep runs.csv
    aggregate 2 <runs.csv | keep gradients.csv
    {
        echo system,field,divergence,microseconds_per_log_prob,log_prob_sd,ess_fraction,trained_with_it_kl,training_seconds
        for system in ${systems//,/ }; do
            for seed in $(seq "$seeds"); do
                if has_field radial; then
                    echo "$system,radial,closed form,$(seconds_of "$system" "dto-$seed" exact | awk '{ printf "%.4g", 1e6 * $1 }'),0,$(figures "evaluate-$system-dto-$seed" .ess_fraction),$(figures "evaluate-$system-dto-$seed" '.kl_direct + .nll_refined - .nll'),$(figures "train-$system-dto-$seed" .seconds)"
                fi
                if has_field dense; then
                    for how in "${divergences[@]}"; do
                        ess=evaluate-$system-dense-exact-$seed
                        [ "$how" = exact ] || ess=ess-$system-dense-exact-$seed-$how
                        echo "$system,dense,$([ "$how" = exact ] && echo 'brute force' || echo "$how"),$(seconds_of "$system" "dense-exact-$seed" "$how" | awk '{ printf "%.4g", 1e6 * $1 }'),$(noise_sd "$system" "dense-exact-$seed" "$how"),$(figures "$ess" .ess_fraction),$(figures "evaluate-$system-dense-$how-$seed" '.kl_direct + .nll_refined - .nll'),$(figures "train-$system-dense-$how-$seed" .seconds)"
                    done
                fi
            done
        done
    } | keep divergence-runs.csv
    aggregate 3 <divergence-runs.csv | keep divergences.csv
    keep table.csv <gradients.csv
    has_field radial || keep table.csv <divergences.csv
    markdown <divergences.csv | keep divergences.md
}

# A row a system: held-out NLL against epochs and seconds, then what three integrators say of the trained models.
draw() {
    local system training entropy axis separator list=(${systems//,/ })
    if ! has_field radial; then
        {
            echo "set multiplot layout ${#list[@]},1"
            echo "set ylabel 'sd of log-density (nats)'; set style fill solid 0.7; set boxwidth 0.6; set xrange [-0.6:2.6]; set yrange [0:*]"
            for system in "${list[@]}"; do
                echo "set title '$system'"
                echo "plot '< grep ^$system,dense, divergences.csv' using 0:7:xtic(3) with boxes lc rgb '$colour_dense'"
            done
            echo 'unset multiplot'
        } | picture dto-otd 480 $((340 * ${#list[@]}))
        return
    fi
    {
        echo "set multiplot layout ${#list[@]},3; set key below horizontal"
        for system in "${list[@]}"; do
            entropy=$(figures "dopri5-$system-dto-1" .entropy)
            echo "unset arrow; set arrow 1 from graph 0, first $entropy to graph 1, first $entropy nohead dt 2 lc rgb '$colour_target'"
            for axis in epochs seconds; do
                echo "set title '$system: as training sees it (dashed: entropy)'; set ylabel 'held-out NLL (nats)'"
                echo "set xlabel '$axis'; set xrange [*:*]; set yrange [*:$entropy + 4]; set xtics auto"
                printf 'plot '
                separator=
                for training in "${trainings[@]}"; do
                    printf "%s'%s-%s-1.csv' every ::1 using (%s):5 with lines lw 1.8 lc rgb '%s' title '%s'" "$separator" "$system" "$training" \
                        "$(if [ $axis = epochs ]; then echo "\$1 * $(epochs_per_step "$system-$training-1")"; else echo "\$2"; fi)" \
                        "$(training_colour "$training")" "$(training_title "$training")"
                    separator=', '
                done
                echo
            done
            echo "set title '$system: the trained models, integrated'; set xlabel ''; set ylabel 'test NLL (nats)'; set yrange [*:*]"
            echo "set xrange [-0.3:2.3]; set xtics ('RK4, 20 steps' 0, '40 steps' 1, 'dopri5' 2)"
            printf 'plot '
            separator=
            for training in "${trainings[@]}"; do
                printf "%s'-' using 1:2 with linespoints pt 7 lw 1.8 lc rgb '%s' title '%s'" "$separator" "$(training_colour "$training")" "$(training_title "$training")"
                separator=', '
            done
            echo
            for training in "${trainings[@]}"; do
                awk -F, -v s="$system" -v t="$training" '$1 == s && $2 == t { printf "0,%s\n1,%s\n2,%s\n", $3, $6, $9 }' gradients.csv
                echo e
            done
        done
        echo 'unset multiplot'
    } | picture dto-otd 1260 $((380 * ${#list[@]}))
}

epochs_per_step() { # MODEL: of a training, the share of the data that a step sees
    jq -r '.result | ([.batch_size, .num_train] | min) / .num_train' "steps/train-$1.json"
}
training_colour() {
    case $1 in
    dto) echo "$colour_radial" ;;
    otd) echo "$colour_fourth" ;;
    cured) echo "$colour_augmented" ;;
    *) echo "$colour_dense" ;;
    esac
}
training_title() {
    case $1 in
    dto) echo DTO ;;
    otd) echo OTD ;;
    plain) echo 'plain DTO' ;;
    *) echo 'plain DTO and penalty' ;;
    esac
}

read_out() {
    has_field radial && awk -F, 'NR > 1 { printf "%s, %s: RK4 with 20 steps says %.3f, dopri5 says %.3f%s\n", $1, $2, $3, $9, ($9 - $3 > 0.01 || $3 - $9 > 0.01) ? ": the integrator is not resolved" : "" }' gradients.csv
    echo
    cat divergences.md
}
