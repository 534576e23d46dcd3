// Ops of an optimizer's step and their documentation. They have kernels for the
// CPU alone, in cpu/.

#include "absl/status/status.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_radn {
namespace {

absl::Status SameShapes(tensorflow::shape_inference::InferenceContext* c) {
  for (int i = 0; i < c->num_inputs(); ++i) c->set_output(i, c->input(i));
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("KerasRadn>ClipByGlobalNorm")
    .Input("gradients: N * float")
    .Output("clipped: N * float")
    .Attr("N: int >= 1")
    .Attr("norm: float")
    .SetShapeFn(SameShapes)
    .Doc(R"doc(
Scales all gradients by one factor, so that their joint norm is at most `norm`.

gradients: of any shapes.
clipped: as the gradients; NaN if their norm is not finite.
norm: the largest norm.
)doc");

REGISTER_OP("KerasRadn>MuonStep")
    .Input("variables: N * resource")
    .Input("momentums: N * resource")
    .Input("gradients: N * float")
    .Input("learning_rate: float")
    .Attr("N: int >= 1")
    .Attr("momentum: float")
    .Attr("nesterov: bool")
    .Attr("coefficients: list(float)")
    .Attr("steps: int >= 0")
    .Attr("rms_rate: float")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
Moves variables by a step of Muon, in place:

    momentum += gradient + (mu - 1) * momentum
    x = gradient + mu * momentum, or the momentum itself
    x = x / |x|, as a matrix whose columns are the last dimension
    x = x (a + b x'x + c (x'x)^2), some times
    variable -= learning_rate * rms_rate * sqrt(longest side) * x

variables: float, of 2 dimensions or more, not empty.
momentums: as the variables.
gradients: as the variables.
learning_rate: a scalar.
momentum: mu.
nesterov: whether the momentum is looked ahead.
coefficients: a, b and c.
steps: how often the iteration is applied.
rms_rate: if negative, neither it nor the side is a factor.
)doc");

REGISTER_OP("KerasRadn>AdamStep")
    .Input("variables: N * resource")
    .Input("momentums: N * resource")
    .Input("velocities: N * resource")
    .Input("gradients: N * float")
    .Input("learning_rates: float")
    .Input("step: float")
    .Attr("N: int >= 1")
    .Attr("beta_1: float")
    .Attr("beta_2: float")
    .Attr("epsilon: float")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
Moves variables by a step of Adam, in place, as ResourceApplyAdam does.

variables: float.
momentums: as the variables.
velocities: as the variables.
gradients: as the variables.
learning_rates: `[N]`, of each variable.
step: a scalar, the number of this step, from 1 on.
)doc");

REGISTER_OP("KerasRadn>MoveAverages")
    .Input("averages: N * resource")
    .Input("values: N * T")
    .Input("share: float")
    .Attr("N: int >= 1")
    .Attr("T: {float, resource}")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
average += share * (value - average), in place.

averages: float.
values: as the averages; tensors or variables.
share: a scalar.
)doc");

}  // namespace keras_radn
