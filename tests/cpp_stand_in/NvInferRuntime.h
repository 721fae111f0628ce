// A stand-in for TensorRT's header, written by us from the public names of its API: only what examples/cpp uses.
// It shows that the program compiles, links and handles its errors; it says nothing of TensorRT itself.

#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace nvinfer1 {

using AsciiChar = char;

enum class DataType : std::int32_t { kFLOAT, kUINT8 };
enum class TensorIOMode : std::int32_t { kNONE, kINPUT, kOUTPUT };

struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};

class ILogger {
  public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };

    virtual ~ILogger() = default;
    virtual void log(Severity severity, AsciiChar const* message) noexcept = 0;
};

class IExecutionContext {
  public:
    virtual ~IExecutionContext() noexcept = default;
    virtual bool setInputShape(char const* name, Dims const& shape) noexcept = 0;
    virtual Dims getTensorShape(char const* name) const noexcept = 0;
    virtual bool setTensorAddress(char const* name, void* address) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
  public:
    virtual ~ICudaEngine() noexcept = default;
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual char const* getIOTensorName(std::int32_t index) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(char const* name) const noexcept = 0;
    virtual DataType getTensorDataType(char const* name) const noexcept = 0;
    virtual Dims getTensorShape(char const* name) const noexcept = 0;
    virtual IExecutionContext* createExecutionContext() noexcept = 0;
};

class IRuntime {
  public:
    virtual ~IRuntime() noexcept = default;
    virtual ICudaEngine* deserializeCudaEngine(void const* plan, std::size_t size) noexcept = 0;
};

IRuntime* createInferRuntime(ILogger& logger) noexcept;

}  // namespace nvinfer1
