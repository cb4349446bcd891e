# The mechanical changes that a program of 0.1 needs: CHANGELOG.md, "From 0.1". Results begin from their initializers, and what a preset
# points to is reached by arrows.
s/^\( *\)eqf_\(loss\|energy_loss\|step_statistics\|device_info\|training_state\|mcmc_diagnostics\|quench_summary\|weight_summary\|chain_mean\|bench_yardsticks\|device_profile\) \([a-z_]*\);/\1eqf_\2 \3 = EQF_\U\2\E_INIT;/
s/&preset->model,/preset->model,/g
s/preset->\(model\|training\|mcmc\)\./preset->\1->/g
