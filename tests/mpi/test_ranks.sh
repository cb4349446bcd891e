#!/usr/bin/env bash
# Several ranks give what one gives: data and samples bit for bit, training within 1e-5.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Data: the same bits, and the same diagnostics, from 1, 2 and 3 ranks; fewer blocks of chains than ranks too.
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" data dw4 -n 300 --burn-in 100 --thinning 20 -o x.npy --json --quiet || finish
    mv x.npy "x$number.npy" && mv stdout "diagnostics$number"
done
same x1.npy x2.npy "data of one and two ranks"
same x1.npy x3.npy "data of one and three ranks"
same diagnostics1 diagnostics2 "diagnostics of one and two ranks"
same diagnostics1 diagnostics3 "diagnostics of one and three ranks"
succeed ranks 3 "$eqflow" data dw2 -n 5 --chains 2 --burn-in 50 --thinning 5 -o few3.npy --quiet
succeed "$eqflow" data dw2 -n 5 --chains 2 --burn-in 50 --thinning 5 -o few1.npy --quiet
same few1.npy few3.npy "two chains on three ranks"

# Training: the loss curve within 1e-5 over 100 steps, likelihood and mixture.
compare_curves() { # FILE FILE WHAT: the largest relative deviation of loss and held-out NLL
    local worst
    worst=$(paste -d, "$1" "$2" | awk -F, 'NR == 1 { for (i = 1; i <= NF / 2; i++) if ($i ~ /loss|nll|free_energy/) columns[i] = 1; width = NF / 2; next }
        { for (i in columns) { a = $i; b = $(i + width); if (a == "" && b == "") continue; d = (a - b) / (a < 0 ? -a : a); if (d < 0) d = -d; if (d > worst) worst = d } }
        END { print (NR > 10 ? worst + 0 : "too few rows") }')
    within "$worst" 0 1e-5 "$3: largest relative deviation"
}
training=(dw4 --data x1.npy --steps 100 --batch-size 50 --validation-interval 5 --quiet)
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" train "${training[@]}" -o m.safetensors || finish
    mv m.csv "m$number.csv" && mv m.safetensors "m$number.safetensors"
done
compare_curves m1.csv m2.csv "likelihood, two ranks"
compare_curves m1.csv m3.csv "likelihood, three ranks"

# Samples, log-densities and the evaluation.
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" sample m1.safetensors -n 501 -o s.npy --log-prob l.npy --json --quiet || finish
    mv s.npy "s$number.npy" && mv l.npy "l$number.npy" && mv stdout "sampled$number"
    succeed ranks "$number" "$eqflow" evaluate m1.safetensors --data x1.npy -n 200 --json --quiet || finish
    mv stdout "evaluated$number"
done
for number in 2 3; do
    same s1.npy "s$number.npy" "samples of one and $number ranks"
    same l1.npy "l$number.npy" "log-densities of one and $number ranks"
    same sampled1 "sampled$number" "what sample prints with $number ranks"
    same evaluated1 "evaluated$number" "what evaluate prints with $number ranks"
done

finish
