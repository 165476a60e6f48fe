# Builds libquern_cudnn, cuDNN's attention behind a table of functions, where the headers of cuDNN 9, of
# its C++ frontend and of the CUDA runtime are found, and says so, or says that it skipped it. Headers
# are enough: the library looks for cuDNN when it runs. They are looked for where CUDA is and where the
# system has them; QUERN_CUDNN_FRONTEND names the folder of cudnn_frontend.h, which Python's package
# nvidia-cudnn-frontend has as include.
quern_switch(QUERN_CUDA wanted)
if(wanted STREQUAL "off")
  return()
endif()
set(cuda_places HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES include)
find_path(QUERN_CUDNN_FRONTEND cudnn_frontend.h ${cuda_places}
  DOC "The folder of cudnn_frontend.h, for attention by cuDNN")
find_path(QUERN_CUDNN_HEADERS cudnn.h ${cuda_places})
find_path(QUERN_CUDART_HEADERS cuda_runtime.h ${cuda_places})
foreach(headers QUERN_CUDNN_FRONTEND QUERN_CUDNN_HEADERS QUERN_CUDART_HEADERS)
  if(NOT ${headers})
    message(STATUS "cuDNN: ${headers} is not found; libquern_cudnn is not built")
    return()
  endif()
endforeach()

# The version that the first of these files which defines one has, as MAJOR.MINOR.
function(quern_header_version result major minor)
  foreach(file ${ARGN})
    if(EXISTS ${file})
      file(READ ${file} text)
      if(text MATCHES "#define ${major} ([0-9]+)")
        set(first ${CMAKE_MATCH_1})
        string(REGEX MATCH "#define ${minor} ([0-9]+)" _ "${text}")
        set(${result} ${first}.${CMAKE_MATCH_1} PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${result} 0 PARENT_SCOPE)
endfunction()
quern_header_version(cudnn_version CUDNN_MAJOR CUDNN_MINOR ${QUERN_CUDNN_HEADERS}/cudnn_version.h)
quern_header_version(frontend_version CUDNN_FRONTEND_MAJOR_VERSION CUDNN_FRONTEND_MINOR_VERSION
  ${QUERN_CUDNN_FRONTEND}/cudnn_frontend_version.h ${QUERN_CUDNN_FRONTEND}/cudnn_frontend.h)
# The frontend has the deterministic backward since 1.5.
if(cudnn_version VERSION_LESS 9 OR frontend_version VERSION_LESS 1.5)
  message(STATUS "cuDNN: ${cudnn_version} with frontend ${frontend_version} is too old (9.0 and 1.5 are the least); libquern_cudnn is not built")
  return()
endif()

add_library(quern_cudnn MODULE ${CMAKE_CURRENT_SOURCE_DIR}/cuda/quern_cudnn_main.cc)
target_link_libraries(quern_cudnn PRIVATE quern_settings Threads::Threads ${CMAKE_DL_LIBS})
target_include_directories(quern_cudnn SYSTEM PRIVATE
  ${QUERN_CUDNN_FRONTEND} ${QUERN_CUDNN_HEADERS} ${QUERN_CUDART_HEADERS})
set_target_properties(quern_cudnn PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
message(STATUS "cuDNN: libquern_cudnn is built against cuDNN ${cudnn_version} and frontend ${frontend_version}")
