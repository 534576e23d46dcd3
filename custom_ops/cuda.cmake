# Adds the CUDA kernels to the target `deformable`, if there is a toolkit. The
# runtime is linked statically, so that the library needs neither CUDA's nor a
# driver to load.

if(KERAS_RADN_SANITIZE)
  message(STATUS "keras-radn: no CUDA kernels in a build with sanitizers")
  return()
endif()

include("${CMAKE_CURRENT_LIST_DIR}/nvcc.cmake")
if(NVCC_PROBLEM)
  if(KERAS_RADN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "keras-radn: KERAS_RADN_CUDA is ON, but ${NVCC_PROBLEM}")
  endif()
  message(STATUS "keras-radn: CPU kernels only, for ${NVCC_PROBLEM}")
  return()
endif()

add_cuda_object(deformable "${KERAS_RADN_SOURCES}/cuda/kernels.cu.cc")
target_sources(deformable PRIVATE src/cuda/launch.cc)
# TensorFlow brings a CUDA runtime of its own into the process. Ours must not
# export its functions, nor take the other's for its own.
target_link_libraries(deformable PRIVATE CUDA::cudart_static)
target_link_options(
  deformable PRIVATE "LINKER:--exclude-libs,libcudart_static.a"
)
