#!/usr/bin/env bash
# Run all that needs an NVIDIA GPU: the tests marked gpu, an engine build, the benchmark. Writes one report.
#
#   bench/gpu.sh                      both sizes; an hour or more
#   bench/gpu.sh --quick              the tiny model alone; minutes
#   bench/gpu.sh --model sapiens-1b   what is built and measured after the tests
#
# VENV is the virtual environment (.venv-gpu), PYTHON the Python that creates it, EXTRAS the extras to
# install into it, OUT the folder of the report. INSTALL=no installs nothing: for an existing environment,
# such as one on a Jetson that was created with --system-site-packages.
set -euo pipefail
cd "$(dirname "$0")/.."

model=sapiens-0.3b
tests='gpu'

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
    -h | --help)
      sed -n '2,11s/^# \{0,1\}//p' "$0"
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
' motivnet_engines torch matplotlib tensorrt pytest pytest_timeout)
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

# step NAME COMMAND...: run it, keep its output in NAME.txt, and continue if it fails.
step() {
  local name=$1 start=$SECONDS result=passed
  shift
  echo "== $name: $*"
  if ! "$@" 2>&1 | tee "$out/$name.txt"; then
    result=FAILED
    failed+=("$name")
  fi
  echo "| $name | $result | $((SECONDS - start)) | [$name.txt]($name.txt) |" >> "$out/report.md"
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

build_for_8() {
  cp -r "$artifact" "$artifact-8"
  "$bin/motivnet" build-engine "$artifact-8" --backend tensorrt --opt-batch 8 && return
  rm -r "$artifact-8" # its engine is tuned for 1, and must not be measured as the other
  return 1
}

latency() {
  "$bin/motivnet-bench" latency "$1" --device cuda --batch-size "$2" --out "$out/latency-batch-$2"
}

artifact=$out/artifact
step environment environment
step doctor doctor
reason=$(no_tensorrt) || die "motivnet doctor gave no answer; see $out/doctor.txt"
[ -z "$reason" ] || die "no tensorrt engine can run here: $reason"
step tests "$bin/python" -m pytest -m "$tests" tests/gpu -ra -s --junitxml "$out/tests.xml"
step build "$bin/motivnet-export" build --model "$model" --fp16 --target tensorrt --out "$artifact"
if [ -f "$artifact/manifest.json" ]; then
  step inspect "$bin/motivnet" inspect "$artifact"
  step verify "$bin/motivnet" verify "$artifact"
  step latency-1 latency "$artifact" 1
  # TensorRT tunes an engine for one batch size: the same graph again, tuned for 8.
  step build-8 build_for_8
  step latency-8 latency "$artifact-8" 8
fi

echo "report: $out/report.md"
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
