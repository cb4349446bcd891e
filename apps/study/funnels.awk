# Occupation of funnels, from ladder.csv of `eqflow data --replicas` and, for each of its temperatures, order_K.csv (eqflow average --each of the
# quenched configurations) and minima_K.csv (eqflow minima --each). Configuration n is of ladder n % ladders; odd ladders began at the minimum.
# Prints CSV: temperature; fraction with Q4 above 0.13, from gas, its error, from the minimum, its error, their difference in errors; the same of the
# fraction at the lowest minimum of all; the differences of mean energies and of ln Z in errors.
BEGIN { FS = "," }

FNR == 1 { for (c = 1; c <= NF; c++) at[$c] = c; next }

{
    k = num++
    temperature[k] = $at["temperature"]
    energy_off[k] = off($at["mean_energy_from_gas"], $at["from_gas_standard_error"], $at["mean_energy_from_start"], $at["from_start_standard_error"])
    z_off[k] = k == 0 ? 0 : off($at["log_z_from_gas"], $at["log_z_from_gas_standard_error"], $at["log_z_from_start"], $at["log_z_from_start_standard_error"])
    read_order(k, "order_" $at["number"] ".csv")
    read_minima(k, "minima_" $at["number"] ".csv")
}

END {
    print "temperature,q4_gas,q4_gas_error,q4_minimum,q4_minimum_error,q4_difference_errors,lowest_gas,lowest_gas_error,lowest_minimum," \
        "lowest_minimum_error,lowest_difference_errors,energy_difference_errors,log_z_difference_errors"
    for (k = 0; k < num; k++) {
        printf "%.9g", temperature[k]
        for (what = 0; what < 2; what++) {
            for (start = 0; start < 2; start++) {
                mean_of(k, what, start)
                mean[start] = result_mean
                error[start] = result_error
                printf ",%.9g,%.9g", result_mean, result_error
            }
            printf ",%.9g", off(mean[0], error[0], mean[1], error[1])
        }
        printf ",%.9g,%.9g\n", energy_off[k], z_off[k]
    }
}

# |a - b| in standard errors; 0 if both are the same without any spread.
function off(a, a_error, b, b_error,   difference, scale) {
    difference = a > b ? a - b : b - a
    scale = sqrt(a_error * a_error + b_error * b_error)
    return difference == 0 ? 0 : scale > 0 ? difference / scale : 999
}

function read_order(k, file,   line, fields, q4, n, head) {
    head = 1
    while ((getline line < file) > 0) {
        split(line, fields, ",")
        if (head) {
            for (n in fields) if (fields[n] == "q4") q4 = n
            head = 0
            continue
        }
        n = fields[1]
        count[k, n % ladders]++
        inside[k, 0, n % ladders] += fields[q4] > 0.13
    }
    close(file)
}

# Energies are reduced: temperature times energy is the same minimum at every temperature.
function read_minima(k, file,   line, fields, head) {
    head = 1
    while ((getline line < file) > 0) {
        if (head) { head = 0; continue }
        split(line, fields, ",")
        quenched[k, fields[1]] = fields[3] * temperature[k]
        last[k] = fields[1]
        if (fields[3] * temperature[k] < lowest) lowest = fields[3] * temperature[k]
    }
    close(file)
}

# Mean over the ladders of a start (0: gas, even ladders), and its error from their spread.
function mean_of(k, what, start,   l, n, value, sum, squares, num_ladders) {
    if (what == 1 && !is_counted[k]) {
        for (n = 0; n <= last[k]; n++) inside[k, 1, n % ladders] += quenched[k, n] < lowest + 1e-4 * (lowest < 0 ? -lowest : lowest)
        is_counted[k] = 1
    }
    for (l = start; l < ladders; l += 2) {
        if (!count[k, l]) continue
        value = inside[k, what, l] / count[k, l]
        sum += value
        squares += value * value
        num_ladders++
    }
    result_mean = sum / num_ladders
    squares = squares / num_ladders - result_mean * result_mean
    result_error = num_ladders > 1 ? sqrt((squares > 0 ? squares : 0) / (num_ladders - 1)) : 0
}
