#include <cmath>
#include <cstring>
#include <map>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"

// What of cuBLASLt blas_plans.cc calls, from NVIDIA's description of it: column-major operands,
// epilogues over the rows of D. Statuses: 0 success, 7 invalid value.
namespace quern::kernels::cuda {
namespace {

constexpr int kInvalid = 7;

struct Description {
  std::map<int, uint64_t> attributes;
  uint64_t get(int attribute) const {
    const auto found = attributes.find(attribute);
    return found == attributes.end() ? 0 : found->second;
  }
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t stride;
};
struct Preference {
  size_t workspace = 0;
};

int create(void** handle) {
  *handle = new int(1);
  return 0;
}
int destroy(void* handle) {
  delete static_cast<int*>(handle);
  return 0;
}
int desc_create(void** desc, int compute, int scale) {
  const bool known = compute == blas::kCompute32F || compute == blas::kComputeBf16 ||
                     compute == blas::kComputeTf32;
  if (!known || scale != blas::kFloat32) return kInvalid;
  *desc = new Description;
  return 0;
}
int desc_destroy(void* desc) {
  delete static_cast<Description*>(desc);
  return 0;
}
int desc_set(void* desc, int attribute, const void* value, size_t bytes) {
  if (bytes > sizeof(uint64_t)) return kInvalid;
  uint64_t word = 0;
  std::memcpy(&word, value, bytes);
  static_cast<Description*>(desc)->attributes[attribute] = word;
  return 0;
}
int layout_create(void** layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  if ((type != blas::kFloat32 && type != blas::kBFloat16) || stride < static_cast<int64_t>(rows))
    return kInvalid;
  *layout = new Layout{type, rows, columns, stride};
  return 0;
}
int layout_destroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return 0;
}
int preference_create(void** preference) {
  *preference = new Preference;
  return 0;
}
int preference_destroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return 0;
}
int preference_set(void* preference, int attribute, const void* value, size_t bytes) {
  if (attribute == blas::kWorkspaceBytes && bytes == sizeof(size_t))
    std::memcpy(&static_cast<Preference*>(preference)->workspace, value, bytes);
  return 0;
}

/// Refuses what is not a product of these shapes; and, as a library may, one column of D, the GELU
/// of two, and the bias of three rows.
int heuristic(void*, void* desc, void* a, void* b, void* c, void* d, void*, int requested,
              BlasHeuristic* results, int* returned) {
  const auto& description = *static_cast<Description*>(desc);
  const auto& x = *static_cast<Layout*>(a);
  const auto& y = *static_cast<Layout*>(b);
  const auto& z = *static_cast<Layout*>(d);
  const bool tx = description.get(blas::kTransposeA) != 0;
  const bool ty = description.get(blas::kTransposeB) != 0;
  const uint64_t inner = tx ? x.rows : x.columns;
  *returned = 0;
  if (requested < 1 || c != d || (tx ? x.columns : x.rows) != z.rows ||
      inner != (ty ? y.columns : y.rows) || (ty ? y.rows : y.columns) != z.columns)
    return kInvalid;
  constexpr int kNotSupported = 15;
  const auto epilogue = static_cast<uint32_t>(description.get(blas::kEpilogue));
  const bool gelu = (epilogue & blas::kEpilogueGelu) != 0;
  const bool bias = (epilogue & (blas::kEpilogueBias | blas::kEpilogueSumsOfB)) != 0;
  if (x.type != y.type || (x.type == blas::kFloat32 && z.type != x.type)) return kInvalid;
  if (z.columns == 1 || (gelu && z.columns == 2) || (bias && z.rows == 3)) return kNotSupported;
  *returned = 1;
  results[0] = BlasHeuristic{};
  results[0].algorithm.data[0] = z.rows;
  return 0;
}

double value_at(const void* data, int type, uint64_t i) {
  if (type == blas::kBFloat16)
    return static_cast<double>(static_cast<float>(static_cast<const BFloat16*>(data)[i]));
  return static_cast<double>(static_cast<const float*>(data)[i]);
}
void put(void* data, int type, uint64_t i, double value) {
  if (type == blas::kBFloat16) {
    static_cast<BFloat16*>(data)[i] = static_cast<float>(value);
  } else {
    static_cast<float*>(data)[i] = static_cast<float>(value);
  }
}
double at(const void* data, const Layout& layout, uint64_t row, uint64_t column) {
  return value_at(data, layout.type, row + column * static_cast<uint64_t>(layout.stride));
}

double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

int matmul(void*, void* desc, const void* alpha, const void* a, void* a_layout, const void* b,
           void* b_layout, const void* beta, const void* c, void*, void* d, void* d_layout,
           const BlasAlgorithm* algorithm, void*, size_t, void* stream) {
  const Description description = *static_cast<Description*>(desc);
  const Layout x = *static_cast<Layout*>(a_layout);
  const Layout y = *static_cast<Layout*>(b_layout);
  const Layout z = *static_cast<Layout*>(d_layout);
  if (algorithm->data[0] != z.rows) return kInvalid;  // another product's
  const float factor = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  // Bias and the value before the activation have D's type.
  const auto epilogue = static_cast<uint32_t>(description.get(blas::kEpilogue));
  auto* bias = reinterpret_cast<void*>(description.get(blas::kBiasPointer));
  auto* aux = reinterpret_cast<void*>(description.get(blas::kAuxPointer));
  const bool reads_bias = (epilogue & (blas::kEpilogueBias | blas::kEpilogueSumsOfB)) != 0;
  const bool keeps = (epilogue & blas::kEpilogueGeluAux) == blas::kEpilogueGeluAux;
  if ((reads_bias && bias == nullptr) || (keeps && aux == nullptr)) return kInvalid;
  auto* driver = &static_cast<EmulatedStream*>(stream)->driver;
  driver->count_product();
  driver->queue([=] {
    const bool tx = description.get(blas::kTransposeA) != 0;
    const bool ty = description.get(blas::kTransposeB) != 0;
    const uint64_t inner = tx ? x.rows : x.columns;
    if ((epilogue & blas::kEpilogueSumsOfB) != 0) {
      for (uint64_t column = 0; column < z.columns; ++column) {
        double sum = 0;
        for (uint64_t k = 0; k < inner; ++k) sum += at(b, y, ty ? column : k, ty ? k : column);
        put(bias, z.type, column, sum);
      }
    }
    for (uint64_t column = 0; column < z.columns; ++column) {
      for (uint64_t row = 0; row < z.rows; ++row) {
        double sum = 0;
        for (uint64_t k = 0; k < inner; ++k) {
          sum += at(a, x, tx ? k : row, tx ? row : k) * at(b, y, ty ? column : k, ty ? k : column);
        }
        sum *= static_cast<double>(factor);
        if (keep != 0) sum += static_cast<double>(keep) * at(c, z, row, column);
        if ((epilogue & blas::kEpilogueBias) != 0) sum += value_at(bias, z.type, row);
        if (keeps) put(aux, z.type, row + column * description.get(blas::kAuxStride), sum);
        if ((epilogue & blas::kEpilogueGelu) != 0) sum = gelu_tanh(sum);
        put(d, z.type, row + column * static_cast<uint64_t>(z.stride), sum);
      }
    }
  });
  return 0;
}

}  // namespace

const BlasLt& emulated_blas() {
  static const BlasLt table{create,         destroy,           desc_create,
                            desc_destroy,   desc_set,          layout_create,
                            layout_destroy, preference_create, preference_destroy,
                            preference_set, heuristic,         matmul};
  return table;
}

}  // namespace quern::kernels::cuda
