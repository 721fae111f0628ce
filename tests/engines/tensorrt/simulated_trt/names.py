"""TensorRT's enumerations, with other integers than any real version has."""

from __future__ import annotations

import enum

import numpy as np


class Severity(enum.Enum):
    INTERNAL_ERROR = 90
    ERROR = 91
    WARNING = 92
    INFO = 93
    VERBOSE = 94


class ILogger:
    Severity = Severity


class TensorIOMode(enum.Enum):
    NONE = 70
    INPUT = 71
    OUTPUT = 72


class TensorLocation(enum.Enum):
    DEVICE = 60
    HOST = 61


class DataType(enum.Enum):
    FLOAT = 50
    HALF = 51
    UINT8 = 52
    BF16 = 53


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 40
    USER_MANAGED = 42


class CudaGraphStrategy(enum.Enum):
    DISABLED = 30
    WHOLE_GRAPH_CAPTURE = 31


class EngineValidity(enum.Enum):
    VALID = 20
    SUBOPTIMAL = 21
    INVALID = 22


class EngineInvalidityDiagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4
    OLD_CUDA_RUNTIME = 8
    INSUFFICIENT_GPU_MEMORY = 16
    MALFORMED_ENGINE = 32
    CUDA_ERROR = 64


NUMPY = {DataType.FLOAT: np.float32, DataType.HALF: np.float16, DataType.UINT8: np.uint8}
DTYPES = {
    "tensor(float)": DataType.FLOAT,
    "tensor(float16)": DataType.HALF,
    "tensor(uint8)": DataType.UINT8,
}


def nptype(dtype: DataType) -> type:
    if dtype not in NUMPY:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return NUMPY[dtype]


EVERYWHERE = (
    ILogger,
    TensorIOMode,
    TensorLocation,
    DataType,
    ExecutionContextAllocationStrategy,
    nptype,
)
RTX = (*EVERYWHERE, CudaGraphStrategy, EngineValidity, EngineInvalidityDiagnostics)
