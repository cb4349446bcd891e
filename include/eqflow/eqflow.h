/* eqflow: equivariant continuous normalizing flows with exact likelihood, on any OpenCL device. */
#ifndef EQFLOW_EQFLOW_H
#define EQFLOW_EQFLOW_H

#include "eqflow/anneal.h"
#include "eqflow/array.h"
#include "eqflow/bench.h"
#include "eqflow/cache.h"
#include "eqflow/communicator.h"
#include "eqflow/compare.h"
#include "eqflow/context.h"
#include "eqflow/device.h"
#include "eqflow/estimate.h"
#include "eqflow/evaluate.h"
#include "eqflow/flow.h"
#include "eqflow/free_energy.h"
#include "eqflow/gallery.h"
#include "eqflow/mcmc.h"
#include "eqflow/minima.h"
#include "eqflow/model.h"
#include "eqflow/observable.h"
#include "eqflow/option.h"
#include "eqflow/potential.h"
#include "eqflow/preset.h"
#include "eqflow/selftest.h"
#include "eqflow/status.h"
#include "eqflow/train.h"
#include "eqflow/version.h"

#endif
