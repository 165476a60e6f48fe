option(QUERN_BUILD_TESTS "Build the tests" ON)
option(QUERN_BUILD_BENCHMARKS "Build the benchmarks" OFF)
option(QUERN_BUILD_FUZZERS "Build the fuzz targets (Clang only)" OFF)
option(QUERN_WERROR "Treat warnings as errors" ON)
include("${CMAKE_CURRENT_LIST_DIR}/quern_switch.cmake")
set(QUERN_CUDA "auto" CACHE STRING "Compile the CUDA kernels: auto (where nvcc is found), on, off")
set_property(CACHE QUERN_CUDA PROPERTY STRINGS auto on off)
set(QUERN_CUDA_ARCHITECTURES "80;90;100" CACHE STRING
  "Compute capabilities of the CUDA kernels; PTX of the last serves later ones")
set(QUERN_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=, e.g. address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Everything that all rooms compile and link with.
add_library(quern_settings INTERFACE)
target_include_directories(quern_settings INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_options(quern_settings INTERFACE
  $<BUILD_INTERFACE:-Wall;-Wextra;-Wpedantic;-Wconversion;-fno-math-errno;-ffp-contract=off>)
# GCC 12 warns falsely about std::string's operator+ (GCC bug 105651).
target_compile_options(quern_settings INTERFACE $<BUILD_INTERFACE:$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>>)
if(QUERN_WERROR)
  target_compile_options(quern_settings INTERFACE $<BUILD_INTERFACE:-Werror>)
endif()
if(QUERN_SANITIZE)
  target_compile_options(quern_settings INTERFACE
    $<BUILD_INTERFACE:-fsanitize=${QUERN_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>)
  target_link_options(quern_settings INTERFACE $<BUILD_INTERFACE:-fsanitize=${QUERN_SANITIZE}>)
endif()
# Coverage in the rooms, not only in the fuzz targets: libFuzzer is blind without it.
if(QUERN_BUILD_FUZZERS)
  target_compile_options(quern_settings INTERFACE $<BUILD_INTERFACE:-fsanitize=fuzzer-no-link>)
endif()
