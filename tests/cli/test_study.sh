#!/usr/bin/env bash
# The worked study of docs/study.md, in its short version: the commands run, melting is where it is known to be, the figure is an SVG, and the page
# shows the commands of the script.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
command -v awk >/dev/null || skip "no awk"

succeed env EQFLOW="$eqflow" "$source_root/apps/study/melting.sh" --short study || finish
if [ "$(wc -l <study/ladder.csv)" -eq 9 ] && [ "$(wc -l <study/melting.csv)" -eq 8 ]; then pass; else fail "$(cat study/ladder.csv)"; fi
# The full run has 39.8 +- .6 at T = 0.3, 99 +- 2 at 0.6, 66 +- 1 at 0.9 (momenta included).
c_at() { awk -F, -v t="$1" '$1 == t { print 18 + $5 }' study/melting.csv; }
within "$(c_at 0.3)" 33 48 "C / k of the cold cluster"
within "$(c_at 0.6)" 80 125 "near the peak"
within "$(c_at 0.9)" 54 80 "of the droplet"
within "$(awk -F, 'NR > 1 && ($2 < low || low == "") { low = $2 } END { print low }' study/melting.csv)" 0.05 1 "least effective sample size of the scan"
if [ "$(grep -c '<circle' study/melting.svg)" -eq 9 ] && tail -1 study/melting.svg | grep -q '</svg>' && ! grep -qi 'nan' study/melting.svg; then
    pass
else
    fail "$(head -5 study/melting.svg)"
fi
if command -v python3 >/dev/null; then succeed python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("study/melting.svg")'; fi
# Funnels of lj38: a run far too short, whose starts must differ; at its lowest temperature those from the minimum are still in the fcc funnel.
succeed env EQFLOW="$eqflow" "$source_root/apps/study/funnels.sh" --short lj38 funnels
if [ "$(wc -l <funnels/funnels.csv)" -eq 4 ]; then pass; else fail "$(cat funnels/funnels.csv)"; fi
within "$(awk -F, 'NR == 2 { print $2 }' funnels/funnels.csv)" 0 0.3 "in the fcc funnel, from gas"
within "$(awk -F, 'NR == 2 { print $4 }' funnels/funnels.csv)" 0.6 1 "in the fcc funnel, from the minimum"
within "$(awk -F, 'NR == 2 { print $6 }' funnels/funnels.csv)" 4 1000 "errors apart"
expect 2 'unknown option' "$source_root/apps/study/funnels.sh" --nothing
# The page's commands are the script's.
page=$(tr -s ' \\\n' ' ' <"$source_root/docs/study.md")
for words in '--replicas 8 --highest-temperature 1.2 --burn-in 6000 --thinning 200' '-n 960' '--blocks 20' 'temperature=0.3:1.2:37'; do
    if [[ $page == *"$words"* ]]; then pass; else fail "docs/study.md does not have '$words'"; fi
done
for words in 'num=960 burn_in=6000 thinning=200 blocks=20 points=37' '--replicas 8 --highest-temperature 1.2' '--ladders 16'; do
    if grep -q -- "$words" "$source_root/apps/study/melting.sh"; then pass; else fail "the script does not have '$words'"; fi
done
finish
