# Any CPU driver.
level = class
match.type = cpu

vector_width = 8                    # one work-item carries a whole AVX2 register of samples: PoCL does not vectorise across
    # work-items around inner loops (10 to 14 times slower with one sample a work-item; measured, PoCL 3.1)
num_partials = 4                    # few: each is a table in a cache that the cores share
max_work_items_per_unit = 8         # a work-group costs a CPU driver about 50 ns: work-items stride over short turns
local_size = 1                      # vectors are in the work-item; more would only lengthen a thread's turn
local_memory = no                   # it is ordinary memory on a CPU: copying a table there only costs
