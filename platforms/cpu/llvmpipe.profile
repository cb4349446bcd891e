# Mesa's software rasteriser behind rusticl. It offers itself as a CPU; rusticl's GPUs are GPUs and get their vendor's file.
level = driver
match.type = cpu
match.platform = rusticl

vector_width = 1                    # wide vectors take minutes to compile (Mesa 22.3)
num_partials = 8                    # not tuned
launch_iterations = 65535           # all loops of a work-group share so many turns a launch, then end in silence
local_size = 0                      # one vector, 4 or 8 items: of 64 items, 8 vectors, the turns are counted together and the results were
    # garbage at an eighth of them; with 1 it takes ten to twenty times the time (dw2's table: 58 s, then 6.7 s)
max_work_items_per_unit = 0         # many small work-items: each is scalar
last_resort = yes                   # many times slower than a CPU driver: auto takes it only where nothing else is

issue.loop-limit = loops of a work-group end after 65,535 turns in one launch, all together and silently: wrong results, not late ones
issue.loop-limit.guard = flow.budget
issue.loop-limit.source = Mesa, src/gallium/auxiliary/gallivm/lp_bld_limits.h, LP_MAX_TGSI_LOOP_ITERATIONS
issue.conditional-loads = both branches of a conditional load may be executed: an index must be safe even where it is not used
issue.conditional-loads.guard = dynamics.radial
issue.conditional-loads.source = https://gitlab.freedesktop.org/mesa/mesa/-/work_items/15667
issue.zero-sign = fma(0, -1, 0) is -0: the software fma gives the product where the third is zero. Compare zeros by value
issue.zero-sign.guard = train.augment
issue.zero-sign.source = LLVM, libclc, clc_sw_fma.cl: "if (c == 0)"
