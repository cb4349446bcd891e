# Any GPU that no vendor's file knows.
level = class
match.type = gpu

build_option = -D UNROLLED_STATE=48 # loops over configurations of so many numbers are unrolled: arrays in registers, not off the
    # chip. Of lj13's 39 the compilers of platforms/*/*.ceilings keep two or three; lj55's 165 fit nowhere.
vector_width = 1                    # each lane of a GPU runs a scalar work-item of its own
num_partials = 256                  # bounds the parallelism of the reverse solve; each costs a table to clear and to add. 64 left most of a
    # large GPU idle: a training step of lj13 takes 3 times as long on an H200 and an MI300X, and as long on a laptop's, by
    # the cost model (eqflow bench --model); not measured.
group_size = 64                     # one sample a work-group for larger systems: a full wavefront of the widest devices
