#!/usr/bin/env bash
# Run all that needs an NVIDIA GPU: an engine build, the benchmark, the tests marked gpu. Writes one report.
# Without TensorRT it runs what does not need it: ONNX Runtime with CUDA beside PyTorch.
#
#   bench/gpu.sh                      both sizes; an hour or more
#   bench/gpu.sh --quick              the tiny model alone; minutes
#   bench/gpu.sh --minutes 12         the most informative steps first, the installation included; what does
#                                     not fit is stopped, or named in the report as not run
#   bench/gpu.sh --model sapiens-1b   what is built and measured beside the tests
#
# VENV is the virtual environment (.venv-gpu), PYTHON the Python that creates it, EXTRAS the extras to
# install into it, OUT the folder of the report. INSTALL=no installs nothing: for an existing environment,
# such as one on a Jetson that was created with --system-site-packages.
set -euo pipefail
cd "$(dirname "$0")/.."

model=sapiens-0.3b
tests='gpu'
minutes=

die() {
  echo "bench/gpu.sh: $*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case "$1" in
    --quick)
      model=tiny
      tests='gpu and not slow'
      ;;
    --model)
      [ $# -gt 1 ] || die "--model needs the name of a size, such as sapiens-1b"
      model=$2
      shift
      ;;
    --minutes)
      [[ ${2:-} =~ ^[0-9]{1,5}$ ]] || die "--minutes needs a whole number, such as 12"
      minutes=$2
      shift
      ;;
    -h | --help)
      sed -n '2,14s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "there is no option $1; see bench/gpu.sh --help" ;;
  esac
  shift
done

# Jetson has no nvidia-smi before JetPack 7, and a GPU all the same.
if [ ! -e /etc/nv_tegra_release ]; then
  command -v nvidia-smi > /dev/null || die "there is no nvidia-smi: this needs a machine with an NVIDIA GPU and its driver"
  gpus=$(nvidia-smi --list-gpus 2>&1) || die "nvidia-smi finds no GPU: ${gpus%%$'\n'*}"
  [ -n "$gpus" ] || die "nvidia-smi lists no GPU"
fi

venv=${VENV:-.venv-gpu}
if [ ! -x "$venv/bin/python" ]; then
  "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || die "Python 3.11 or later is needed; name it, as in PYTHON=python3.12 bench/gpu.sh"
  "${PYTHON:-python3}" -m venv "$venv" || die "$venv cannot be made; on Debian: apt-get install python3-venv"
  echo '*' > "$venv/.gitignore"
fi
bin=$venv/bin
if [ "${INSTALL:-yes}" = yes ]; then
  extras=${EXTRAS:-export,bench,trt,rtx,gpu,judge}
  "$bin/python" -m pip install --quiet --editable ".[$extras]" 'psutil>=5.9' 'pytest>=8.3' 'pytest-timeout>=2.3' \
    || die "motivnet[$extras] was not installed; take out what this machine cannot have, as in EXTRAS=export,bench,trt"
  # Version-compatible engines run on the lean runtime of exactly this version; their test skips without it.
  trt=$("$bin/python" -c 'from importlib.metadata import version; print(version("tensorrt"))' 2> /dev/null || true)
  [ -z "$trt" ] || "$bin/python" -m pip install --quiet "tensorrt-lean==$trt" \
    || echo "bench/gpu.sh: tensorrt-lean==$trt was not installed: no version-compatible engine is run" >&2
fi
missing=$("$bin/python" -c '
import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
' motivnet_engines torch matplotlib pytest pytest_timeout)
[ -z "$missing" ] || die "$venv lacks: $missing; install them there, or leave INSTALL=no away"

out=${OUT:-artifacts/gpu-report-$(date -u +%Y%m%d-%H%M%S)}
mkdir -p "$out"
[ -z "$(ls -A "$out")" ] || die "$out holds files; name an empty folder, or a new one, with OUT"
out=$(cd "$out" && pwd)
failed=()
{
  echo "# MotivNet on a GPU"
  echo
  echo "| step | result | seconds | output |"
  echo "| --- | --- | --- | --- |"
} > "$out/report.md"

record() {
  echo "| $1 | $2 | $3 | ${4:-} |" >> "$out/report.md"
}

# step NAME COMMAND...: run it for the time there is, keep its output in NAME.txt, and continue if it fails.
step() {
  local name=$1 start=$SECONDS code left=
  result=passed
  shift
  if [ -n "$minutes" ] && [ "$(type -t "$1")" != function ]; then
    left=$((minutes * 60 - SECONDS - 10))
    if [ "$left" -lt 20 ]; then
      echo "== $name: not run, no time is left"
      result="not run, no time was left"
      record "$name" "$result" 0
      return
    fi
    # As Ctrl-C: the benchmark then reports the rounds that it has.
    set -- timeout --foreground --signal=INT --kill-after=10 "$left" "$@"
  fi
  echo "== $name: $*"
  set +e
  "$@" 2>&1 | tee "$out/$name.txt"
  code=${PIPESTATUS[0]}
  set -e
  if [ -n "$left" ] && { [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; }; then
    result="stopped, the time was up"
  elif [ "$code" -ne 0 ]; then
    result=FAILED
    failed+=("$name")
  fi
  record "$name" "$result" "$((SECONDS - start))" "[$name.txt]($name.txt)"
}

environment() {
  date -u
  git log -1 --format='%H %s' 2> /dev/null || echo "no git repository"
  uname -a
  "$bin/python" --version
  if command -v nvidia-smi > /dev/null; then nvidia-smi; else cat /etc/nv_tegra_release; fi
  "$bin/python" -m pip freeze
}

doctor() {
  "$bin/motivnet" doctor --json > "$out/doctor.json" || true # the text below is what fails
  "$bin/motivnet" doctor
}

# Why no engine of tensorrt runs here, with the command that repairs it; nothing if one does.
no_tensorrt() {
  "$bin/python" -c '
import json, sys
with open(sys.argv[1]) as file:
    runtimes = json.load(file)["runtimes"]
for found in runtimes:
    if found["name"] == "tensorrt" and not found["possible"]:
        print("; ".join(filter(None, (found["detail"], found["fix"]))))
' "$out/doctor.json"
}

target=tensorrt
runtimes=()
if ! "$bin/python" -c 'import tensorrt' 2> /dev/null; then
  target=onnx
  runtimes=(--runtime onnxruntime-cuda)
fi
every=()
for baseline in fp32 fp16 bf16 compile-fp16 compile-bf16 compile-fp32; do
  every+=(--baseline "$baseline")
done
if "$bin/python" -c 'import torch_tensorrt' 2> /dev/null; then
  every+=(--baseline torch-tensorrt-fp16)
fi

# measure MODEL OPTION...: build it, measure it with the options of the benchmark, compare it with PyTorch.
measure() {
  local size=$1 artifact=$out/$1
  shift
  step "build-$size" "$bin/motivnet-export" build --model "$size" --fp16 --target "$target" --out "$artifact"
  [ -f "$artifact/manifest.json" ] || return 0
  step "latency-$size" "$bin/motivnet-bench" latency "$artifact" --device cuda "${runtimes[@]}" "$@" \
    --out "$out/latency-$size"
  step "verify-$size" "$bin/motivnet" verify "$artifact"
  step "inspect-$size" "$bin/motivnet" inspect "$artifact"
  if [ "$target" = tensorrt ]; then
    # TensorRT tunes an engine for one batch size: the same graph again, tuned for 8.
    cp -r "$artifact" "$artifact-8"
    artifact=$artifact-8
    step "build-$size-batch-8" "$bin/motivnet" build-engine "$artifact" --backend tensorrt --opt-batch 8
    [ "$result" = passed ] || return 0
  fi
  step "latency-$size-batch-8" "$bin/motivnet-bench" latency "$artifact" --device cuda "${runtimes[@]}" \
    --batch-size 8 --out "$out/latency-$size-batch-8"
}

step environment environment
step doctor doctor
if [ "$target" = tensorrt ]; then
  reason=$(no_tensorrt) || die "motivnet doctor gave no answer; see $out/doctor.txt"
  [ -z "$reason" ] || die "no tensorrt engine can run here: $reason"
fi
measure tiny # minutes that show whether anything works here
[ "$model" = tiny ] || measure "$model" "${every[@]}"
step tests "$bin/python" -m pytest -m "$tests" tests/gpu -ra -s --junitxml "$out/tests.xml"

echo "report: $out/report.md"
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
