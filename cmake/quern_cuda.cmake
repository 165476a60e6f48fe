# Compiles the CUDA kernels (quern/kernels/cuda/kernels.cu) into one fat binary where nvcc is found, and
# says so, or says that it skipped them. Sets QUERN_CUDA_IMAGE to the file, else to nothing. Nothing
# else of the build needs CUDA: its libraries are found when the program runs.
set(QUERN_CUDA_IMAGE "")
quern_switch(QUERN_CUDA wanted)
if(wanted STREQUAL "off")
  message(STATUS "CUDA: not looked for (QUERN_CUDA=off); the kernels are not compiled")
  return()
endif()
find_program(QUERN_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NOT QUERN_NVCC)
  if(wanted STREQUAL "on")
    message(FATAL_ERROR "CUDA is asked for (QUERN_CUDA=on), and nvcc is not found")
  endif()
  message(STATUS "CUDA: nvcc is not found; the kernels are not compiled (the emulator still tests them)")
  return()
endif()

execute_process(COMMAND ${QUERN_NVCC} --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
string(REGEX MATCH "release ([0-9.]+)" _ "${nvcc_version}")
set(nvcc_version ${CMAKE_MATCH_1})
set(architectures ${QUERN_CUDA_ARCHITECTURES})
if(nvcc_version VERSION_LESS 12.8)
  list(REMOVE_ITEM architectures 100)
endif()
set(generate "")
foreach(architecture ${architectures})
  list(APPEND generate "-gencode=arch=compute_${architecture},code=sm_${architecture}")
endforeach()
list(GET architectures -1 last)
list(APPEND generate "-gencode=arch=compute_${last},code=compute_${last}")

set(QUERN_CUDA_IMAGE ${PROJECT_BINARY_DIR}/quern_kernels.fatbin)
add_custom_command(OUTPUT ${QUERN_CUDA_IMAGE}
  COMMAND ${QUERN_NVCC} -fatbin -std=c++20 -O3 -I${PROJECT_SOURCE_DIR} ${generate}
    -Werror all-warnings -MD -MF ${QUERN_CUDA_IMAGE}.d
    -o ${QUERN_CUDA_IMAGE} ${PROJECT_SOURCE_DIR}/quern/kernels/cuda/kernels.cu
  DEPENDS ${PROJECT_SOURCE_DIR}/quern/kernels/cuda/kernels.cu
  DEPFILE ${QUERN_CUDA_IMAGE}.d
  COMMENT "Compiling the CUDA kernels with nvcc ${nvcc_version} for ${architectures}"
  VERBATIM COMMAND_EXPAND_LISTS)
message(STATUS "CUDA: nvcc ${nvcc_version} compiles the kernels for ${architectures}, and PTX")
