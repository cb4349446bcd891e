#!/usr/bin/env bash
# A wrong sign or factor in each file of cl/, one after the other: `eqflow selftest` must fail on every one of them, and
# on none without.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
only_apply=${2:-}
[ -n "$only_apply" ] || "$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
group=(--set-profile group_size=64 --set-profile group_min_particles=3)
by_group=(--set-profile vector_width=1 --set-profile group_size=8 --set-profile local_memory=yes)

# planted FILE SUBJECT SED [FLAGS...]: selftest of that subject with that fault ends with 8.
declare -A is_planted
planted() {
    local file=$1 subject=$2 fault=$3 code
    shift 3
    is_planted[$file]=1
    rm -rf kernels
    cp -r "$source_root/cl" kernels
    sed -i "$fault" "kernels/$file"
    if cmp -s "kernels/$file" "$source_root/cl/$file"; then
        fail "$file: no fault was planted"
        return
    fi
    if [ -n "$only_apply" ]; then
        pass
        return
    fi
    EQFLOW_KERNEL_PATH=$work/kernels "$eqflow" selftest --only "$subject" --quiet "$@" >stdout 2>stderr
    code=$?
    if [ $code -eq 8 ] && grep -q '^FAILED' stdout; then
        pass
        echo "$file: $(grep -c '^FAILED' stdout) of $(grep -cE '^(ok|FAILED) ' stdout) wrong"
    else
        fail "$file: exit code $code with '$fault': $(cat stderr)"
    fi
}

if [ -z "$only_apply" ]; then
    succeed "$eqflow" selftest --quiet
    succeed "$eqflow" selftest --quiet "${group[@]}"
fi

planted common/real.clh 'radial, direct, rk4' 's/realv r = x - whole;/realv r = whole - x;/'
planted common/random.clh 'dense, rk4' 's/sqrt(/0.99f * sqrt(/'
planted common/pack.cl 'dense, rk4' 's/x_blocked\[((size_t)block \* num_dof + c) \* V + lane\] = x\[/x_blocked[((size_t)block * num_dof + c) * V + lane] = -x[/'
planted common/sum.cl sums 's/sum += load_lanes/sum -= load_lanes/'
planted common/group.clh 'direct, rk4 by group' 's/? sm_sums\[item\] + sm_sums/? sm_sums[item] - sm_sums/' "${group[@]}"
planted bench/probe_rates.cl 'probe' 's/sum0 += c0/sum0 -= c0/'
planted bench/probe.cl 'probe' 's/a0 = fma(a0, f, t);/a0 = fma(a0, f, -t);/'

planted dynamics/radial.clh 'radial, direct, rk4' 's/div += d \* phi1 +/div += d * phi1 -/'
planted dynamics/radial_table.clh 'radial, table, rk4' 's/sqrt_distance(d2)/sqrt_distance(d2) * 1.01f/'
planted dynamics/radial_params.clh 'radial, table, rk4' 's/AT_LOG_GAMMAS (AT_IMPORTANCE + PAIR_KINDS \* K)/AT_LOG_GAMMAS AT_IMPORTANCE/'
planted dynamics/radial_stages.cl 'radial, direct, rk4' 's/bias += basis\[m\] \*/bias -= basis[m] */'
planted dynamics/radial_gradients.cl 'radial, direct, rk4' 's/+=/-=/'
planted dynamics/radial_any_time.clh 'radial, direct, dopri5' 's/velocity\[j \* D + a\] -= r/velocity[j * D + a] += r/'
planted dynamics/radial_any_time.cl 'radial, direct, dopri5' 's/scale \*/-scale */'
planted dynamics/radial_group.clh 'table, rk4 by group' 's/g_i\[a\] += fma(q\[a\], phi.s0, along/g_i[a] += fma(q[a], phi.s0, -along/' "${group[@]}"
planted dynamics/radial_group_direct.clh 'direct, rk4 by group' 's/grad_bias += sm_notes/grad_bias -= sm_notes/' "${group[@]}"
planted dynamics/radial_group_table.clh 'table, rk4 by group' 's/grad_stage)\[(uint)cell\] += sum/grad_stage)[(uint)cell] -= sum/' "${group[@]}"
planted dynamics/dense.clh 'dense, rk4' 's/: -(real)k \* unit/: (real)k * unit/'
planted dynamics/dense.cl 'dense, rk4' 's/fma(load_lanes(row + COLUMN(0, block)), slope, bend/fma(load_lanes(row + COLUMN(0, block)), slope, -bend/'

planted dynamics/message.cl message 's/PUT(A0 + turn, (realv)0)/PUT(A0 + turn, (realv)1)/'
planted dynamics/message_dense.clh message 's/y00 = fma(a0, b0, y00)/y00 = fma(-a0, b0, y00)/'
planted dynamics/message_hop.clh message 's/sum\[0\] += filter;/sum[0] -= filter;/'
planted dynamics/message_rows.clh message 's/adjoint_left\[a\] = fma(adjoint_raw, dright/adjoint_left[a] = fma(-adjoint_raw, dright/'
planted dynamics/message_sums.clh message 's/GET(AT_RHO_OF(k, other) + c), sum/-GET(AT_RHO_OF(k, other) + c), sum/'
planted dynamics/message_readout.clh message 's/PUT(z + edge \* ES + ch, fma(weight, x/PUT(z + edge * ES + ch, fma(-weight, x/'

planted integrator/rk4.clh 'radial, direct, rk4' 's/REAL(1.0) \/ REAL(3.0)/REAL(1.0) \/ REAL(4.0)/'
planted integrator/steps.clh 'radial, direct, rk4' 's/2 \* (step) + (offset)/2 * (step) + 2 - (offset)/'
planted integrator/rk4.cl 'radial, direct, rk4' 's/total = fma((realv)h, div_sum, total)/total = fma((realv)-h, div_sum, total)/'
planted integrator/rk4_adjoint.cl 'radial, direct, rk4' 's/total\[c\] += from_later\[c\]/total[c] -= from_later[c]/'
planted integrator/rk4_group.cl 'direct, rk4 by group' 's/total = fma(h, div_sum, total)/total = fma(-h, div_sum, total)/' "${group[@]}"
planted integrator/rk4_group_adjoint.cl 'direct, rk4 by group' 's/total\[o\] += from_later\[o\]/total[o] -= from_later[o]/' "${group[@]}"
planted integrator/rk4_batched.cl 'dense, rk4' 's/fma((realv)h, load_lanes(sum/fma((realv)-h, load_lanes(sum/'
planted integrator/dormand_prince_group.cl 'radial, direct, dopri5' 's/const real step = fma(h, next/const real step = fma(-h, next/' "${group[@]}"
planted dynamics/radial_group_any_time.clh 'radial, direct, dopri5' 's/pull - projected/pull + projected/' "${group[@]}"
planted integrator/dormand_prince.cl 'radial, direct, dopri5' 's/realv step = fma(h, sum, left_out/realv step = fma(-h, sum, left_out/'
planted integrator/dormand_prince.clh 'radial, direct, dopri5' 's/REAL(1.0) - s;/REAL(1.0) + s;/'
planted integrator/dormand_prince_tableau.clh 'radial, direct, dopri5' 's/FRACTION(35, 384)/-FRACTION(35, 384)/'
planted integrator/dormand_prince_forward.clh 'radial, direct, dopri5' 's/slope\[c\] \*= direction/slope[c] *= -direction/'
planted integrator/dormand_prince_adjoint.clh 'radial, direct, dopri5' 's/-direction \* weight \* adjoint_log_det/direction * weight * adjoint_log_det/'
planted integrator/dormand_prince_batched.cl 'dense, dopri5' 's/direction \* load_lanes(OWN(velocity/-direction * load_lanes(OWN(velocity/'
planted integrator/field_vjp.cl 'radial, direct, rk4' 's/k\[c\] = load_lanes(adjoint_velocity/k[c] = -load_lanes(adjoint_velocity/'
planted integrator/field_vjp_any_time.cl 'radial, direct, dopri5' 's/k\[c\] = load_lanes(adjoint_velocity/k[c] = -load_lanes(adjoint_velocity/'
planted integrator/dormand_prince_rows.cl 'radial, direct, dopri5' 's/value += load_lanes(own)/value -= load_lanes(own) + 1/'

planted mcmc/metropolis.cl potentials 's/mean += COMP/mean -= COMP/'
planted mcmc/states.cl potentials 's/low_of_high\[ladder\] - low_of_low/low_of_low[ladder] - low_of_high/'
planted mcmc/particle.cl potentials 's/share_start \* (is_whole/-share_start * (is_whole/'
planted mcmc/replica.cl potentials 's/block \* V) \* REAL(-1/block * V) * REAL(1/'
planted minima/quench.cl potentials 's/before - step_back/before + step_back/'
planted potential/double_well.clh potentials 's/DW_QUARTIC)/-DW_QUARTIC)/'
planted potential/lennard_jones.clh potentials 's/s \* (s - 2.0f))/s * (s + 2.0f))/'
planted potential/morse.clh potentials 's/MORSE_DEPTH \* (e \* (e - 2.0f))/MORSE_DEPTH * (e * (e + 2.0f))/'
planted potential/binary_lennard_jones.clh potentials 's/epsilon \* (s \* (s - 2.0f))/epsilon * (s * (s + 2.0f))/'
planted potential/pair_sum.clh potentials 's/realv factor = -2.0f/realv factor = 2.0f/'
planted potential/energy.cl potentials 's/found |= !isfinite/found |= isfinite/'
planted potential/energy_seed.cl potentials 's/realv slope = -shrink/realv slope = shrink/'
planted potential/user.clh own 's/= -USER_BETA \* gradient/= USER_BETA * gradient/'
planted potential/verify.cl own 's/checks\[CHECK_FORCE\] = force/checks[CHECK_FORCE] = -force/'
planted prior/gaussian.clh 'dense, rk4' 's/share \* z\[c\]/-share * z[c]/'
planted prior/normals.clh 'dense, rk4' 's/x\[i \* D + a\] -= mean/x[i * D + a] += mean/'
planted prior/prior.cl 'dense, rk4' 's/(realv)-1, scale/(realv)1, scale/'
planted train/adam.cl 'training' 's/p -= learning_rate/p += learning_rate/'
planted train/batch.cl 'training' 's/position % num/position % (num - 1)/'
planted train/augment.cl 'training' 's/q\[0\]\[1\] = -s/q[0][1] = s/'
planted train/weighted.cl training 's/store_lanes(at, f \* load/store_lanes(at, -f * load/'
planted train/flow_matching.cl training 's/(real)2 \* share \* difference/(real)-2 * share * difference/'
planted dynamics/message_common.clh message 's/\*value = z \* sigma/*value = -z * sigma/'
planted dynamics/message.clh message 's/j < i; j++) sum -= GET_ADJOINT/j < i; j++) sum += GET_ADJOINT/'
planted dynamics/message_group.cl 'message, rk4' 's/params\[sources\[n\]\] : (real)0/-params[sources[n]] : (real)0/' "${by_group[@]}"
planted dynamics/message_group.clh 'message, rk4' 's/y1 = fma((real4)x1\[i\], b, y1)/y1 = fma((real4)-x1[i], b, y1)/' "${by_group[@]}"
planted dynamics/message_group_values.clh 'message, rk4' 's/R_OF(j, i)\[a\] = -r/R_OF(j, i)[a] = r/' "${by_group[@]}"
planted dynamics/message_group_edges.clh 'message, rk4' 's/to\[2 \* R\] = across;/to[2 * R] = -across;/' "${by_group[@]}"
planted dynamics/message_group_sources.cl 'message, rk4' 's/s\[AT_V + turn\] - mean/s[AT_V + turn] + mean/' "${by_group[@]}"
planted dynamics/message_group_gradient.clh 'message, rk4' 's/g2 = fma((real4)y\[at + o2\], x, g2)/g2 = fma((real4)-y[at + o2], x, g2)/' "${by_group[@]}"
planted dynamics/message_group_reverse_edges.clh 'message, rk4' 's/sm\[SM_SUM_TAU + ch\] += sum_tau/sm[SM_SUM_TAU + ch] -= sum_tau/' "${by_group[@]}"
planted dynamics/message_group_reverse_nodes.clh 'message, rk4' 's/adjoint_v = factor \* adjoint\[a\] - shrink/adjoint_v = factor * adjoint[a] + shrink/' "${by_group[@]}"
planted dynamics/message_group_reverse.clh 'message, rk4' 's/j < i; j++) sum -= sm/j < i; j++) sum += sm/' "${by_group[@]}"
planted dynamics/message_group_reverse.cl 'message, rk4' 's/(real)0;/(real)1;/' "${by_group[@]}"
planted dynamics/message_group_row_steps.clh 'message, rk4' 's/num_rows, update + 2 \* H \* IN_FOURS(H), M, H/num_rows, update + (2 * H + M) * IN_FOURS(H), M, H/' "${by_group[@]}"
planted dynamics/message_group_row_edges.clh 'message, rk4' 's/s\[AT_SUM_OF_TAU + ch\] += sum_tau/s[AT_SUM_OF_TAU + ch] -= sum_tau/' "${by_group[@]}"
planted dynamics/message_group_row_sums.clh 'message, rk4' 's/of_q += part_vu/of_q -= part_vu/' "${by_group[@]}"
planted dynamics/message_group_row_reverse.clh 'message, rk4' 's/HS + ch\] = adjoint \* slope/HS + ch] = -adjoint * slope/' "${by_group[@]}"
planted dynamics/message_group_rows.clh 'message, rk4' 's/real slope = steep \* r\[c\];/real slope = -steep * r[c];/' "${by_group[@]}"
planted train/path.cl training 's/fma((realv)h, total, at)/fma((realv)-h, total, at)/'

# Numbers of operations, which the host reads from the same file.
is_planted[dynamics/message_ops.clh]=1
# No file is forgotten.
while IFS= read -r file; do
    if [ -n "${is_planted[$file]:-}" ]; then pass; else fail "$file: no fault is planted in it"; fi
done < <(cd "$source_root/cl" && find . -name '*.cl' -o -name '*.clh' | sed 's|^\./||')
finish
