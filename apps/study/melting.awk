# The figure of docs/study.md, from ladder.csv and melting.csv: heat capacity over temperature, with a band of one standard error by MBAR and points
# with bars from each temperature alone. SVG that is read on light and on dark ground. C / k is the configurational variance and 3 (N - 1) / 2 of the
# momenta.
BEGIN {
    FS = ","
    kinetic = 18
    left = 70; right = 620; top = 30; bottom = 330
    t_low = 0.25; t_high = 1.25
}
FNR == 1 { file++; for (c = 1; c <= NF; c++) column[file, $c] = c; next }
file == 1 {
    n++
    pt[n] = $column[1, "temperature"]
    pc[n] = kinetic + $column[1, "heat_capacity"]
    pe[n] = $column[1, "heat_capacity_standard_error"]
}
file == 2 {
    m++
    t[m] = $column[2, "temperature"]
    c_[m] = kinetic + $column[2, "energy_variance"]
    e[m] = $column[2, "energy_variance_standard_error"]
}
function x(value) { return left + (right - left) * (value - t_low) / (t_high - t_low) }
function y(value) { return bottom - (bottom - top) * (value - c_low) / (c_high - c_low) }
function fixed(value) { return sprintf("%.1f", value) }
END {
    high = 0
    for (i = 1; i <= n; i++) if (pc[i] + pe[i] > high) high = pc[i] + pe[i]
    for (i = 1; i <= m; i++) if (c_[i] + e[i] > high) high = c_[i] + e[i]
    c_low = 30
    c_high = 10 * int(high / 10 + 1)
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 660 390\" width=\"660\" height=\"390\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"13\">"
    print "<title>Heat capacity of 13 Lennard-Jones particles over temperature</title>"
    print "<style>"
    print ":root { color-scheme: light dark }"
    print ".ground { fill: #ffffff } .ink { fill: #1f2933 } .axis { stroke: #52606d; fill: none } .grid { stroke: #d5dbe1 }"
    print ".band { fill: #2f6fb2; fill-opacity: 0.28 } .line { stroke: #2f6fb2; fill: none; stroke-width: 2 } .mark { fill: #b5460f; stroke: #b5460f }"
    print "@media (prefers-color-scheme: dark) {"
    print ".ground { fill: #14181d } .ink { fill: #e4e9ee } .axis { stroke: #9aa5b1 } .grid { stroke: #323b45 }"
    print ".band { fill: #6db3f2 } .line { stroke: #6db3f2 } .mark { fill: #f0955f; stroke: #f0955f } }"
    print "</style>"
    print "<rect class=\"ground\" width=\"660\" height=\"390\"/>"
    for (value = c_low; value <= c_high; value += 10) {
        print "<path class=\"grid\" d=\"M" left " " fixed(y(value)) "H" right "\"/>"
        print "<text class=\"ink\" x=\"" left - 10 "\" y=\"" fixed(y(value) + 4.5) "\" text-anchor=\"end\">" value "</text>"
    }
    for (value = 0.3; value < 1.25; value += 0.1) {
        print "<path class=\"axis\" d=\"M" fixed(x(value)) " " bottom "v5\"/>"
        printf "<text class=\"ink\" x=\"%s\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n", fixed(x(value)), bottom + 21, value
    }
    print "<path class=\"axis\" d=\"M" left " " top "V" bottom "H" right "\"/>"
    print "<text class=\"ink\" x=\"" (left + right) / 2 "\" y=\"" bottom + 44 "\" text-anchor=\"middle\">temperature T (well depth 2)</text>"
    print "<text class=\"ink\" transform=\"translate(22 " (top + bottom) / 2 ") rotate(-90)\" text-anchor=\"middle\">heat capacity C / k</text>"
    path = ""
    for (i = 1; i <= m; i++) path = path (i == 1 ? "M" : "L") fixed(x(t[i])) " " fixed(y(c_[i] + e[i]))
    for (i = m; i >= 1; i--) path = path "L" fixed(x(t[i])) " " fixed(y(c_[i] - e[i]))
    print "<path class=\"band\" d=\"" path "Z\"/>"
    path = ""
    for (i = 1; i <= m; i++) path = path (i == 1 ? "M" : "L") fixed(x(t[i])) " " fixed(y(c_[i]))
    print "<path class=\"line\" d=\"" path "\"/>"
    for (i = 1; i <= n; i++) {
        print "<path class=\"mark\" stroke-width=\"1.5\" d=\"M" fixed(x(pt[i])) " " fixed(y(pc[i] + pe[i])) "V" fixed(y(pc[i] - pe[i])) "\"/>"
        print "<circle class=\"mark\" cx=\"" fixed(x(pt[i])) "\" cy=\"" fixed(y(pc[i])) "\" r=\"3.5\"/>"
    }
    print "<path class=\"line\" d=\"M" left + 240 " 46h28\"/><text class=\"ink\" x=\"" left + 276 "\" y=\"50\">all together by MBAR, one standard error</text>"
    print "<circle class=\"mark\" cx=\"" left + 254 "\" cy=\"66\" r=\"3.5\"/><text class=\"ink\" x=\"" left + 276 "\" y=\"70\">each temperature alone</text>"
    print "</svg>"
}
