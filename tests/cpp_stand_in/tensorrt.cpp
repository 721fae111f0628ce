// A stand-in for TensorRT, written by us, with a trivial engine: the logits are the mean colour of an image's top row.
// It shows only that examples/cpp compiles, links and handles its errors.
//
// Its engine file is one line of text: stand-in uint8|float32 LARGEST_SIDE NAME_OF_LOGITS CLASSES

#include "stand_in.h"

#include <NvInferRuntime.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

namespace {

using namespace nvinfer1;
using Severity = ILogger::Severity;

constexpr std::int64_t kEmbedding = 2;
constexpr float kGreyLevelsPerLogit = 51;

struct Plan {
    std::string magic, input, logits;
    std::int64_t largest = 0, classes = 0;
};

void write_logits(std::uint8_t const* pixels, std::int64_t width, std::int64_t classes, float* logits) {
    for (std::int64_t label = 0; label < classes; ++label) {
        float sum = 0;
        for (std::int64_t column = 0; column < width; ++column) sum += pixels[3 * column + label % 3];
        logits[label] = sum / static_cast<float>(width) / kGreyLevelsPerLogit;
    }
}

class Context final : public IExecutionContext, stand_in::Counted {
  public:
    Context(Plan const& plan, ILogger& logger, int& siblings) : plan_(plan), logger_(logger), siblings_(siblings) {
        ++siblings_;
    }
    ~Context() noexcept override { --siblings_; }

    bool setInputShape(char const* name, Dims const& shape) noexcept override {
        bool const fits = name == std::string("image") && shape.nbDims == 4 && shape.d[0] == 1 && shape.d[3] == 3 &&
                          std::max(shape.d[1], shape.d[2]) <= plan_.largest;
        if (!fits) logger_.log(Severity::kERROR, "setInputShape: outside of the profile\nof the stand-in");
        if (fits) image_ = shape;
        return fits;
    }

    Dims getTensorShape(char const* name) const noexcept override {
        if (name == std::string("image")) return image_;
        return Dims{2, {image_.d[0], name == plan_.logits ? plan_.classes : kEmbedding}};
    }

    bool setTensorAddress(char const* name, void* address) noexcept override {
        if (stand_in::is_to_fail("setTensorAddress")) return false;
        addresses_[name] = address;
        return true;
    }

    bool enqueueV3(cudaStream_t stream) noexcept override {
        if (stand_in::is_to_fail("enqueueV3") || !is_ready()) return false;
        auto const* pixels = static_cast<std::uint8_t const*>(addresses_["image"]);
        auto* logits = static_cast<float*>(addresses_[plan_.logits]);
        stream->work.push_back([=, width = image_.d[2], classes = plan_.classes] {
            write_logits(pixels, width, classes, logits);
        });
        return true;
    }

  private:
    bool is_ready() {
        std::size_t const image = static_cast<std::size_t>(image_.d[0] * image_.d[1] * image_.d[2] * image_.d[3]);
        auto const classes = static_cast<std::size_t>(plan_.classes);
        return image > 0 && stand_in::is_device_memory(addresses_["image"], image) &&
               stand_in::is_device_memory(addresses_["embedding"], kEmbedding * sizeof(float)) &&
               stand_in::is_device_memory(addresses_[plan_.logits], classes * sizeof(float));
    }

    Plan const& plan_;
    ILogger& logger_;
    int& siblings_;
    Dims image_{4, {}};
    std::map<std::string, void*> addresses_;
};

class Engine final : public ICudaEngine, stand_in::Counted {
  public:
    Engine(Plan plan, ILogger& logger, int& siblings) : plan_(std::move(plan)), logger_(logger), siblings_(siblings) {
        ++siblings_;
    }
    ~Engine() noexcept override {
        if (contexts_ != 0) stand_in::misused("an engine was freed before its context");
        --siblings_;
    }

    std::int32_t getNbIOTensors() const noexcept override { return 3; }
    char const* getIOTensorName(std::int32_t index) const noexcept override {
        char const* const names[] = {"image", plan_.logits.c_str(), "embedding"};
        return index >= 0 && index < 3 ? names[index] : nullptr;
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        return name == std::string("image") ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    DataType getTensorDataType(char const* name) const noexcept override {
        return name == std::string("image") && plan_.input == "uint8" ? DataType::kUINT8 : DataType::kFLOAT;
    }
    Dims getTensorShape(char const* name) const noexcept override {
        if (name == std::string("image")) return Dims{4, {-1, -1, -1, 3}};
        return Dims{2, {-1, name == plan_.logits ? plan_.classes : kEmbedding}};
    }
    IExecutionContext* createExecutionContext() noexcept override {
        if (stand_in::is_to_fail("createExecutionContext")) return nullptr;
        return new Context(plan_, logger_, contexts_);
    }

  private:
    Plan plan_;
    ILogger& logger_;
    int& siblings_;
    int contexts_ = 0;
};

class Runtime final : public IRuntime, stand_in::Counted {
  public:
    explicit Runtime(ILogger& logger) : logger_(logger) {}
    ~Runtime() noexcept override {
        if (engines_ != 0) stand_in::misused("a runtime was freed before its engine");
    }

    ICudaEngine* deserializeCudaEngine(void const* bytes, std::size_t size) noexcept override {
        std::istringstream text(std::string(static_cast<char const*>(bytes), size));
        Plan plan;
        if (!(text >> plan.magic >> plan.input >> plan.largest >> plan.logits >> plan.classes) ||
            plan.magic != "stand-in") {
            logger_.log(Severity::kERROR, "deserializeCudaEngine: no engine\nof the stand-in");
            logger_.log(Severity::kINFO, "what is no error is not for the user");
            return nullptr;
        }
        return new Engine(std::move(plan), logger_, engines_);
    }

  private:
    ILogger& logger_;
    int engines_ = 0;
};

}  // namespace

IRuntime* nvinfer1::createInferRuntime(ILogger& logger) noexcept {
    if (stand_in::is_to_fail("createInferRuntime")) return nullptr;
    return new Runtime(logger);
}
