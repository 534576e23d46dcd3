// The OpKernels of an optimizer's step: all variables in one operation, since a
// network has hundreds, most of them small.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/kernels.h"
#include "cpu/newton_schulz.h"
#include "cpu/parallel.h"
#include "cpu/training.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::Var;

// A float variable. Whoever writes to it holds its lock.
class Variable {
 public:
  absl::Status Find(OpKernelContext* context, const char* list, int index) {
    OpInputList handles;
    TF_RETURN_IF_ERROR(context->input_list(list, &handles));
    const auto& handle = handles[index].scalar<tensorflow::ResourceHandle>()();
    TF_RETURN_IF_ERROR(tensorflow::LookupResource(context, handle, &variable_));
    if (variable_->tensor()->dtype() != tensorflow::DT_FLOAT) {
      return absl::InvalidArgumentError(absl::StrCat(
          list, " must be float32. Received: ",
          tensorflow::DataTypeString(variable_->tensor()->dtype())));
    }
    return absl::OkStatus();
  }

  absl::Status CheckShape(const char* name, const TensorShape& expected) const {
    const auto sizes = expected.dim_sizes();
    return keras_radn::CheckShape(name, variable_->tensor()->shape(),
                                  {sizes.begin(), sizes.end()});
  }

  auto* lock() const { return variable_->mu(); }
  const Tensor& tensor() const { return *variable_->tensor(); }

  // Whoever has read the variable keeps what it read.
  float* Write() {
    Tensor* tensor = variable_->tensor();
    if (!tensor->RefCountIsOne()) {
      Tensor copy(tensor->dtype(), tensor->shape());
      std::memcpy(Data(&copy), Data(*tensor), tensor->TotalBytes());
      *tensor = copy;
    }
    return Data(tensor);
  }

 private:
  tensorflow::core::RefCountPtr<Var> variable_;
};

// Finds the variables of a list.
absl::Status FindAll(OpKernelContext* context, const char* list,
                     std::vector<Variable>* variables) {
  for (size_t i = 0; i < variables->size(); ++i) {
    TF_RETURN_IF_ERROR((*variables)[i].Find(context, list, i));
  }
  return absl::OkStatus();
}

// Calls work(i) for each variable, on several threads.
template <typename Work>
void ForEach(OpKernelContext* context, size_t count, const Work& work) {
  constexpr int64_t kNanoseconds = 100000;  // a thread for each
  Parallel(context, count, kNanoseconds, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

// Several sums at once, which do not wait for each other.
double SumOfSquares(const float* values, int64_t count) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      const double value = values[i + j];
      sums[j] += value * value;
    }
  }
  for (; i < count; ++i) sums[0] += static_cast<double>(values[i]) * values[i];
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

class ClipByGlobalNormOp : public tensorflow::OpKernel {
 public:
  explicit ClipByGlobalNormOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("norm", &norm_));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    const int count = gradients.size();
    std::vector<double> squares(count);
    ForEach(context, count, [&](int64_t i) {
      squares[i] = SumOfSquares(Data(gradients[i]), gradients[i].NumElements());
    });
    double sum = 0;
    for (double square : squares) sum += square;
    const float norm = std::sqrt(sum);
    // Without a norm that is finite there is no direction either.
    const float scale =
        std::isfinite(norm) ? norm_ / std::max(norm, norm_) : std::nanf("");
    std::vector<float*> to(count);
    for (int i = 0; i < count; ++i) {
      Tensor* output;
      // The list of outputs begins where that of the inputs does.
      OP_REQUIRES_OK(context, context->forward_input_or_allocate_output(
                                  {i}, i, gradients[i].shape(), &output));
      to[i] = Data(output);
    }
    ForEach(context, count, [&](int64_t i) {
      const float* g = Data(gradients[i]);
      float* clipped = to[i];
      const int64_t size = gradients[i].NumElements();
      for (int64_t k = 0; k < size; ++k) clipped[k] = g[k] * scale;
    });
  }

 private:
  float norm_;
};

class MuonStepOp : public tensorflow::OpKernel {
 public:
  explicit MuonStepOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("momentum", &momentum_));
    OP_REQUIRES_OK(context, context->GetAttr("nesterov", &nesterov_));
    OP_REQUIRES_OK(context, context->GetAttr("coefficients", &coefficients_));
    OP_REQUIRES_OK(context, context->GetAttr("steps", &steps_));
    OP_REQUIRES_OK(context, context->GetAttr("rms_rate", &rms_rate_));
    OP_REQUIRES(
        context, coefficients_.size() == 3,
        absl::InvalidArgumentError(absl::StrCat(
            "coefficients must be three. Received: ", coefficients_.size())));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    const Tensor* rate;
    OP_REQUIRES_OK(context, context->input("learning_rate", &rate));
    OP_REQUIRES_OK(context, CheckShape("learning_rate", rate->shape(), {}));
    std::vector<Variable> variables(gradients.size());
    std::vector<Variable> momentums(gradients.size());
    OP_REQUIRES_OK(context, FindAll(context, "variables", &variables));
    OP_REQUIRES_OK(context, FindAll(context, "momentums", &momentums));
    for (int i = 0; i < gradients.size(); ++i) {
      const TensorShape& shape = gradients[i].shape();
      OP_REQUIRES(context, shape.dims() >= 2 && shape.num_elements() > 0,
                  absl::InvalidArgumentError(absl::StrCat(
                      "gradients must have 2 dimensions or more, none of them "
                      "0. Received: ",
                      shape.DebugString())));
      OP_REQUIRES_OK(context, variables[i].CheckShape("variable", shape));
      OP_REQUIRES_OK(context, momentums[i].CheckShape("momentum", shape));
    }
    // Half precision is enough for what is an approximation anyway, where it
    // is faster.
    const bool narrow = std::strcmp(BestInstructionSet(), "avx512_bf16") == 0;
    const float learning_rate = rate->scalar<float>()();
    ForEach(context, variables.size(), [&](int64_t i) {
      if (narrow) {
        Step<Bfloat16>(gradients[i], learning_rate, &variables[i],
                       &momentums[i]);
      } else {
        Step<float>(gradients[i], learning_rate, &variables[i], &momentums[i]);
      }
    });
  }

 private:
  template <typename B>
  void Step(const Tensor& gradient, float learning_rate, Variable* variable,
            Variable* momentum) const {
    const int64_t count = gradient.NumElements();
    const int64_t columns = gradient.dim_size(gradient.dims() - 1);
    const int64_t rows = count / columns;
    const Uninitialized<float> direction(count);
    {
      tensorflow::mutex_lock lock(*momentum->lock());
      const float* g = Data(gradient);
      float* m = momentum->Write();
      float* d = direction.data();
      for (int64_t i = 0; i < count; ++i) {
        m[i] += g[i] + m[i] * (momentum_ - 1);
        d[i] = nesterov_ ? g[i] + momentum_ * m[i] : m[i];
      }
    }
    const float norm = std::sqrt(SumOfSquares(direction.data(), count));
    NewtonSchulz<B> iteration(direction.data(), 1 / (norm + 1e-7f), rows,
                              columns);
    for (int64_t i = 0; i < steps_; ++i) {
      iteration.Iterate(coefficients_[0], coefficients_[1], coefficients_[2]);
    }
    const float scale =
        rms_rate_ < 0 ? 1 : std::sqrt(std::max(rows, columns)) * rms_rate_;
    tensorflow::mutex_lock lock(*variable->lock());
    iteration.AddTo(-learning_rate * scale, variable->Write());
  }

  float momentum_, rms_rate_;
  bool nesterov_;
  std::vector<float> coefficients_;
  int64_t steps_;
};

class AdamStepOp : public tensorflow::OpKernel {
 public:
  explicit AdamStepOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("beta_1", &beta_1_));
    OP_REQUIRES_OK(context, context->GetAttr("beta_2", &beta_2_));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    const Tensor *rates, *step;
    OP_REQUIRES_OK(context, context->input("learning_rates", &rates));
    OP_REQUIRES_OK(context, context->input("step", &step));
    const int count = gradients.size();
    OP_REQUIRES_OK(context,
                   CheckShape("learning_rates", rates->shape(), {count}));
    OP_REQUIRES_OK(context, CheckShape("step", step->shape(), {}));
    std::vector<Variable> variables(count), momentums(count), velocities(count);
    OP_REQUIRES_OK(context, FindAll(context, "variables", &variables));
    OP_REQUIRES_OK(context, FindAll(context, "momentums", &momentums));
    OP_REQUIRES_OK(context, FindAll(context, "velocities", &velocities));
    for (int i = 0; i < count; ++i) {
      const TensorShape& shape = gradients[i].shape();
      OP_REQUIRES_OK(context, variables[i].CheckShape("variable", shape));
      OP_REQUIRES_OK(context, momentums[i].CheckShape("momentum", shape));
      OP_REQUIRES_OK(context, velocities[i].CheckShape("velocity", shape));
    }
    const float t = step->scalar<float>()();
    const float correction =
        std::sqrt(1 - std::pow(beta_2_, t)) / (1 - std::pow(beta_1_, t));
    ForEach(context, count, [&](int64_t i) {
      const float alpha = Data(*rates)[i] * correction;
      const float* g = Data(gradients[i]);
      tensorflow::mutex_lock lock(*variables[i].lock());
      tensorflow::mutex_lock momentum_lock(*momentums[i].lock());
      tensorflow::mutex_lock velocity_lock(*velocities[i].lock());
      float* w = variables[i].Write();
      float* m = momentums[i].Write();
      float* v = velocities[i].Write();
      const int64_t size = gradients[i].NumElements();
      for (int64_t k = 0; k < size; ++k) {
        m[k] += (g[k] - m[k]) * (1 - beta_1_);
        v[k] += (g[k] * g[k] - v[k]) * (1 - beta_2_);
        w[k] -= m[k] * alpha / (std::sqrt(v[k]) + epsilon_);
      }
    });
  }

 private:
  float beta_1_, beta_2_, epsilon_;
};

class MoveAveragesOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OpInputList values;
    OP_REQUIRES_OK(context, context->input_list("values", &values));
    const Tensor* share;
    OP_REQUIRES_OK(context, context->input("share", &share));
    OP_REQUIRES_OK(context, CheckShape("share", share->shape(), {}));
    const bool read = values[0].dtype() == tensorflow::DT_RESOURCE;
    std::vector<Variable> averages(values.size());
    std::vector<Variable> variables(read ? values.size() : 0);
    OP_REQUIRES_OK(context, FindAll(context, "averages", &averages));
    OP_REQUIRES_OK(context, FindAll(context, "values", &variables));
    for (int i = 0; i < values.size(); ++i) {
      const Tensor& value = read ? variables[i].tensor() : values[i];
      OP_REQUIRES_OK(context, averages[i].CheckShape("average", value.shape()));
    }
    const float part = share->scalar<float>()();
    ForEach(context, averages.size(), [&](int64_t i) {
      tensorflow::mutex_lock lock(*averages[i].lock());
      Tensor value = values[i];
      if (read) {
        tensorflow::tf_shared_lock value_lock(*variables[i].lock());
        value = variables[i].tensor();
      }
      const float* v = Data(value);
      float* average = averages[i].Write();
      const int64_t size = value.NumElements();
      for (int64_t k = 0; k < size; ++k) {
        average[k] += part * (v[k] - average[k]);
      }
    });
  }
};

REGISTER_KERNEL_BUILDER(
    Name("KerasRadn>ClipByGlobalNorm").Device(tensorflow::DEVICE_CPU),
    ClipByGlobalNormOp);
REGISTER_KERNEL_BUILDER(
    Name("KerasRadn>MuonStep").Device(tensorflow::DEVICE_CPU), MuonStepOp);
REGISTER_KERNEL_BUILDER(
    Name("KerasRadn>AdamStep").Device(tensorflow::DEVICE_CPU), AdamStepOp);
REGISTER_KERNEL_BUILDER(
    Name("KerasRadn>MoveAverages").Device(tensorflow::DEVICE_CPU),
    MoveAveragesOp);

}  // namespace
}  // namespace keras_radn
