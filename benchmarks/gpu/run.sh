#!/usr/bin/env bash
# One go on a borrowed GPU: checks the CUDA kernels, then trains on.
#
#   benchmarks/gpu/run.sh TRAVEL OUTPUT MINUTES [--rehearse] [--preset NAME]
#
# TRAVEL is what prepare.sh made. OUTPUT gets all logs, the tables and the
# weights. All is over after MINUTES by the clock. --rehearse goes on without a
# GPU, on the CPU, with tiny batches. --preset trains a larger network than lite,
# which starts as the packaged lite.
#
# Exit status: that of the training; 1 if the wheels cannot be installed, 2 for a
# wrong command line and where there is no GPU. What gpu_check found does not stop
# the training, which runs under JAX and uses none of these kernels; it is in
# OUTPUT/summary.txt.
set -uo pipefail
begun=$SECONDS
usage() {
  echo "run.sh: usage: run.sh TRAVEL OUTPUT MINUTES [--rehearse]" \
    "[--preset NAME], where TRAVEL/wheels is a folder." >&2
  exit 2
}
if [[ $# -lt 3 || ! -d $1/wheels || ! $3 =~ ^[0-9]+$ ]]; then
  usage
fi
travel=$1 output=$2 minutes=$3 rehearse='' preset=''
shift 3
while (($#)); do
  case $1 in
    --rehearse) rehearse=$1 ;;
    --preset) [[ -n ${2:-} ]] || usage; preset=$2 && shift ;;
    *) usage ;;
  esac
  shift
done
if ! nvidia-smi -L >/dev/null 2>&1 && [[ -z $rehearse ]]; then
  echo "run.sh: nvidia-smi finds no GPU here; --rehearse goes on without." >&2
  exit 2
fi
mkdir -p "$output"
travel=$(cd "$travel" && pwd)
output=$(cd "$output" && pwd)
deadline=$((begun + minutes * 60))
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT

# step NAME SECONDS COMMAND...: runs it with a log and at most so long.
step() {
  local name=$1 most=$2 start=$SECONDS left=$((deadline - SECONDS)) status
  shift 2
  ((most < left)) || most=$left
  timeout --kill-after=5 "$most" "$@" >"$output/$name.log" 2>&1
  status=$?
  echo "$name: exit status $status, $((SECONDS - start)) s" |
    tee -a "$output/summary.txt"
  return $status
}

nvidia-smi >"$output/gpu.txt" 2>&1
# By nvcc alone: there may be no CMake.
if step build 120 nvcc -std=c++17 -O3 -arch="${ARCHITECTURE:-sm_90}" -x cu \
  -Icustom_ops/src custom_ops/gpu_check/*.cc custom_ops/src/cuda/kernels.cu.cc \
  -o "$scratch/gpu_check"; then
  step gpu_check 60 "$scratch/gpu_check"
  for tool in memcheck racecheck; do
    step "$tool" 30 compute-sanitizer --tool $tool --error-exitcode 1 \
      "$scratch/gpu_check" --small --configurations 60
  done
fi

step install 60 python3 -m pip install --no-index --no-deps --no-compile \
  --target "$scratch/packages" "$travel"/wheels/*.whl || exit 1
export PYTHONPATH="$scratch/packages" KERAS_BACKEND=jax

# The training, for all that is left. Where the memory does not hold its batches,
# it goes on with half of them. It ends by itself before it would be ended.
train=(python3 -m keras_radn train --start lite -o "$output/run"
  --stills "$travel/pack/stills" --config "$output/config.toml")
[[ ! -d $travel/pack/pairs ]] || train+=(--pairs "$travel/pack/pairs")
[[ -z $preset ]] || train+=(--preset "$preset")
sizes=(64 32 16) edits=()
if [[ -n $rehearse ]]; then
  sizes=(2)
  edits+=(-e 's/^patch_size.*/patch_size = 48/')
fi
[[ -z $preset ]] || edits+=(-e '/^freeze_norms/d')
# How busy the GPU is tells whether it waits for samples.
nvidia-smi --query-gpu=utilization.gpu,memory.used,power.draw --format=csv \
  --loop=5 >"$output/gpu.csv" 2>&1 &
status=1
for size in "${sizes[@]}"; do
  seconds=$((deadline - SECONDS - 10))
  ((seconds > 45)) || break
  sed -e "s/^batch_size.*/batch_size = $size/" "${edits[@]}" \
    benchmarks/gpu/h200.toml >"$output/config.toml"
  step "train_$size" $((seconds + 5)) "${train[@]}" \
    --minutes "$((seconds / 60)).$((seconds % 60 * 10 / 60))"
  status=$?
  ((status)) || break
done
# The images per second of each epoch.
awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) column[$i] = i; next }
  { printf "step %d: %.0f images/s, loss %g\n", $column["step"],
    $column["images_per_second"], $column["loss"] }' \
  "$output/run/log.csv" | tee -a "$output/summary.txt"
cp "$output/run/weights.npz" "$output/weights.npz" || exit 1
exit "$status"
