#!/usr/bin/env bash
# A large ViT on this CPU in FP32, BF16 and INT8 by OpenVINO and NNCF: one table in Markdown, one file of JSON.
#
#   bench/vit_int8.sh                         sapiens-0.3b at 256x192, 512x384 and 1024x768; an hour on two cores
#   bench/vit_int8.sh --quick                 one block of it at 64x48; a minute
#   bench/vit_int8.sh --sizes 256x192 --out F what is measured, and the folder of the files
#   bench/vit_int8.sh --blocks 4              only so many blocks of it, for less memory
#
# VENV is the virtual environment (.venv-int8), PYTHON the Python that creates it. INSTALL=no installs nothing:
# for an existing environment with motivnet[int8-cpu]. Quantising needs ten times the memory of the weights.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

die() {
  echo "bench/vit_int8.sh: $*" >&2
  exit 1
}

venv=${VENV:-.venv-int8}
if [ "${INSTALL:-yes}" = yes ]; then
  if [ ! -x "$venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$venv" || die "$venv cannot be made; on Debian: apt-get install python3-venv"
    echo '*' > "$venv/.gitignore"
  fi
  "$venv/bin/python" -m pip install --quiet --editable '.[int8-cpu,bench]' || die "motivnet[int8-cpu] was not installed"
fi
[ -x "$venv/bin/python" ] || die "there is no $venv/bin/python; name an environment with VENV, or leave INSTALL=no away"
exec "$venv/bin/python" -m motivnet_bench.vit_int8 "$@"
