# Oclgrind interprets kernels and checks every memory access. It claims to be a CPU, a GPU and an accelerator at once.
level = driver
match.platform = Oclgrind

vector_width = 1                    # the simplest to check; nothing is fast here
num_partials = 4                    # it clears and adds each partial gradient about 1000 times slower than a CPU
local_size = 64                     # as GPUs have it: what it checks is what they run
max_work_items_per_unit = 0         # as many as there are turns: the more items, the more races it can see
last_resort = yes                   # for checking, not for results

issue.freeze = with --uninitialized it stops kernels at LLVM's "freeze", then blames the next ones
issue.freeze.versions = 21.10..21.10
issue.freeze.guard = portability.tiny
issue.freeze.source = measured; tests/matrix.sh runs without --uninitialized
issue.exit-code = its exit code is 0 whatever it finds
issue.exit-code.versions = ..21.10
issue.exit-code.guard = portability.tiny
issue.exit-code.source = measured; tests/matrix.sh reads its log
issue.noalias = kernels with inlined functions that return structs are refused: "Undefined external function: llvm.experimental.noalias.scope.decl"
issue.noalias.guard = portability.tiny
issue.noalias.source = https://github.com/jrprice/Oclgrind/issues/223; a rule of cl/README.md
