#!/usr/bin/env bash
# Puts what a machine without a network lacks into a folder: wheels and a pack of
# training pictures. With the repository itself it is at most 64 MiB.
#
#   benchmarks/gpu/prepare.sh OUTPUT --stills DIR --pairs DIR [DIR ...] \
#       --validation DIR
#
# What follows OUTPUT goes to make_pack.py. PYTHON names the Python of an
# environment with keras-radn[train] (default: .venv/bin/python).
set -euo pipefail
limit=$((64 * 1024 * 1024))
output=${1:?usage: prepare.sh OUTPUT [options of make_pack.py]}
shift
mkdir -p "$output"
output=$(cd "$output" && pwd)
calls_from=$PWD
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}

rm -rf "$output/wheels"
"$python" -m pip download --quiet --no-deps --only-binary=:all: \
  --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --platform any \
  --dest "$output/wheels" --requirement benchmarks/gpu/requirements.txt

repository=$(git archive --format=tar HEAD | wc -c)
wheels=$(cat "$output"/wheels/*.whl | wc -c)
left=$((limit - repository - wheels))
echo "repository $repository bytes, wheels $wheels, left for pictures $left"
rm -rf "$output/pack"
(cd "$calls_from" && "$python" "$OLDPWD/benchmarks/gpu/make_pack.py" \
  -o "$output/pack" --megabytes "$((left / 1024 / 1024))" "$@")
