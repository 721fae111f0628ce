// Prints the emotion in a picture, with a MotivNet engine that contains all preprocessing
// (--input image).
//
//   classify model.engine labels.txt face.ppm

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr char const* kInput = "image";
constexpr char const* kLogits = "logits";
constexpr int kMaxSide = 16384;

[[noreturn]] void fail(std::string const& message) { throw std::runtime_error(message); }

void check(cudaError_t status, char const* what) {
    if (status != cudaSuccess) fail(std::string(what) + ": " + cudaGetErrorString(status));
}

// TensorRT says in its log why a call failed; the last error goes into our own message.
class Logger : public nvinfer1::ILogger {
  public:
    void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override try {
        if (severity <= Severity::kERROR) last_ = message;
    } catch (...) {
        last_.clear();  // out of memory, which TensorRT must not see
    }

    std::string because(std::string const& what) const {
        std::string line = last_.empty() ? what : what + ": " + last_;
        std::replace(line.begin(), line.end(), '\n', ' ');
        return line;
    }

  private:
    std::string last_;
};

struct Freed {
    void operator()(void* memory) const { cudaFree(memory); }
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using DeviceBuffer = std::unique_ptr<void, Freed>;
using Stream = std::unique_ptr<CUstream_st, Freed>;

DeviceBuffer new_buffer(std::size_t size) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, size), "cannot allocate GPU memory");
    return DeviceBuffer{memory};
}

Stream new_stream() {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cannot create a CUDA stream");
    return Stream{stream};
}

// Rows of red, green and blue bytes, exactly as they are: the engine resizes and normalises.
struct Image {
    int height = 0;
    int width = 0;
    std::vector<std::uint8_t> pixels;
};

std::vector<char> read_bytes(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file || bytes.empty()) fail(path + " cannot be read, or is empty");
    return bytes;
}

std::vector<std::string> read_labels(std::string const& path) {
    std::ifstream file(path);
    std::vector<std::string> labels;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty()) labels.push_back(line);
    }
    if (labels.empty()) fail(path + " cannot be read, or holds no label; it has one on each line");
    return labels;
}

int next_number(std::istream& file, std::string const& path) {
    while ((file >> std::ws) && file.peek() == '#') file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    int number = 0;
    if (!(file >> number)) fail(path + " is not a binary PPM image");
    return number;
}

Image read_ppm(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    char magic[2] = {};
    if (!file.read(magic, 2) || magic[0] != 'P' || magic[1] != '6') {
        fail(path + " is not a binary PPM image (P6); convert it: magick face.jpg face.ppm");
    }
    Image image;
    image.width = next_number(file, path);
    image.height = next_number(file, path);
    bool const eight_bits = next_number(file, path) == 255;
    if (!eight_bits || std::min(image.width, image.height) < 1 || std::max(image.width, image.height) > kMaxSide) {
        fail(path + " must have 8 bits a channel and sides of 1 to " + std::to_string(kMaxSide));
    }
    file.get();
    image.pixels.resize(std::size_t{3} * image.width * image.height);
    if (!file.read(reinterpret_cast<char*>(image.pixels.data()), std::streamsize(image.pixels.size()))) {
        fail(path + " ends before its last pixel");
    }
    return image;
}

void check_takes_images(nvinfer1::ICudaEngine const& engine) {
    nvinfer1::Dims const shape = engine.getTensorShape(kInput);
    bool const any_size = shape.nbDims == 4 && shape.d[1] == -1 && shape.d[2] == -1 && shape.d[3] == 3;
    if (!any_size || engine.getTensorDataType(kInput) != nvinfer1::DataType::kUINT8) {
        fail("the engine does not take images of any size; build its artifact with --input image");
    }
}

std::size_t values_of(nvinfer1::Dims const& shape) {
    std::size_t count = 1;
    for (int axis = 0; axis < shape.nbDims; ++axis) count *= static_cast<std::size_t>(shape.d[axis]);
    return count;
}

std::vector<float> logits_of(Image const& image, nvinfer1::ICudaEngine& engine, Logger const& logger) {
    check_takes_images(engine);
    std::unique_ptr<nvinfer1::IExecutionContext> context{engine.createExecutionContext()};
    if (!context) fail(logger.because("the engine has no execution context"));
    if (!context->setInputShape(kInput, nvinfer1::Dims{4, {1, image.height, image.width, 3}})) {
        fail(logger.because("the image is beyond the sizes that the engine was built for (--max-image)"));
    }
    Stream const stream = new_stream();
    std::vector<DeviceBuffer> buffers;  // one for each tensor
    std::vector<float> logits;
    void const* logits_on_device = nullptr;
    for (int index = 0; index < engine.getNbIOTensors(); ++index) {
        char const* name = engine.getIOTensorName(index);
        bool const is_input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        std::size_t const count = values_of(context->getTensorShape(name));
        DeviceBuffer const& buffer = buffers.emplace_back(new_buffer(is_input ? count : count * sizeof(float)));
        if (!context->setTensorAddress(name, buffer.get())) fail(logger.because(std::string("no address for ") + name));
        if (is_input) {
            check(cudaMemcpyAsync(buffer.get(), image.pixels.data(), count, cudaMemcpyHostToDevice, stream.get()),
                  "cannot copy the image to the GPU");
        } else if (std::string(name) == kLogits) {
            logits.resize(count);
            logits_on_device = buffer.get();
        }
    }
    if (logits.empty()) fail("the engine has no output called logits");
    if (!context->enqueueV3(stream.get())) fail(logger.because("the engine did not start"));
    check(cudaMemcpyAsync(logits.data(), logits_on_device, logits.size() * sizeof(float), cudaMemcpyDeviceToHost,
                          stream.get()), "cannot copy the logits from the GPU");
    check(cudaStreamSynchronize(stream.get()), "the engine did not finish");
    return logits;
}

void classify(std::string const& engine_path, std::string const& labels_path, std::string const& image_path) {
    std::vector<std::string> const labels = read_labels(labels_path);
    Image const image = read_ppm(image_path);
    std::vector<char> const plan = read_bytes(engine_path);
    Logger logger;  // outlives what TensorRT makes
    std::unique_ptr<nvinfer1::IRuntime> const runtime{nvinfer1::createInferRuntime(logger)};
    if (!runtime) fail(logger.because("TensorRT cannot start"));
    std::unique_ptr<nvinfer1::ICudaEngine> const engine{runtime->deserializeCudaEngine(plan.data(), plan.size())};
    if (!engine) fail(logger.because(engine_path + " is no engine for this GPU and this version of TensorRT"));
    std::vector<float> const logits = logits_of(image, *engine, logger);
    if (logits.size() != labels.size()) {
        fail("the engine has " + std::to_string(logits.size()) + " classes and " + labels_path + " other labels");
    }
    auto const best = std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (float const logit : logits) sum += std::exp(double{logit} - *best);
    std::printf("%s %.4f\n", labels[static_cast<std::size_t>(best - logits.begin())].c_str(), 1 / sum);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc != 4) fail("usage: classify model.engine labels.txt face.ppm");
        classify(argv[1], argv[2], argv[3]);
        return 0;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
