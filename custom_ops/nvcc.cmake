# Finds nvcc and compiles CUDA sources with it, one command a file; CMake's CUDA
# language would also probe the compiler and take over the linking.
#
# Sets NVCC_PROBLEM, a part of a sentence, if there is none that works. Else
# add_cuda_object(target source) adds a source's object to a target.
#
# -DKERAS_RADN_CUDA_ARCHITECTURES="80;90"  GPUs to compile for, instead of
#                                          those that nvcc knows.
# -DKERAS_RADN_PTXAS_VERBOSE=ON            registers and spills per kernel.

set(
  KERAS_RADN_CUDA_ARCHITECTURES "" CACHE STRING
  "Compute capabilities to compile for; empty for the default"
)
option(KERAS_RADN_PTXAS_VERBOSE "Print registers and spills per kernel" OFF)
set(NVCC_PROBLEM "")

# A toolkit that is named must be there; CMake would go on to find another.
if(NOT CUDAToolkit_ROOT)
  if(NOT "$ENV{CUDAToolkit_ROOT}" STREQUAL "")
    set(CUDAToolkit_ROOT "$ENV{CUDAToolkit_ROOT}")
  elseif(NOT "$ENV{CUDACXX}" STREQUAL "")
    get_filename_component(CUDAToolkit_ROOT "$ENV{CUDACXX}" DIRECTORY)
  endif()
endif()
file(GLOB named "${CUDAToolkit_ROOT}/bin/nvcc" "${CUDAToolkit_ROOT}/nvcc")
if(named OR NOT CUDAToolkit_ROOT)
  find_package(CUDAToolkit QUIET)
endif()
if(NOT CUDAToolkit_FOUND OR NOT TARGET CUDA::cudart_static)
  set(
    NVCC_PROBLEM
    "no CUDA toolkit was found. Put nvcc on PATH, or name the toolkit's folder \
in CUDAToolkit_ROOT."
  )
  return()
endif()
if(CUDAToolkit_VERSION VERSION_LESS 12.0)
  set(
    NVCC_PROBLEM
    "CUDA 12 or newer is needed, and ${CUDAToolkit_NVCC_EXECUTABLE} is of \
${CUDAToolkit_VERSION}."
  )
  return()
endif()
set(NVCC "${CUDAToolkit_NVCC_EXECUTABLE}" -ccbin "${CMAKE_CXX_COMPILER}")

# nvcc refuses host compilers that are newer than itself.
set(empty "${CMAKE_CURRENT_BINARY_DIR}/empty.cu")
file(WRITE "${empty}" "")
execute_process(
  COMMAND ${NVCC} -std=c++17 -ptx "${empty}" -o "${empty}.ptx"
  RESULT_VARIABLE nvcc_failed
  OUTPUT_VARIABLE nvcc_output
  ERROR_VARIABLE nvcc_output
)
if(nvcc_failed)
  set(
    NVCC_PROBLEM
    "${CUDAToolkit_NVCC_EXECUTABLE} does not work with \
${CMAKE_CXX_COMPILER}:\n${nvcc_output}"
  )
  return()
endif()

set(architectures ${KERAS_RADN_CUDA_ARCHITECTURES})
if(NOT architectures)
  # All that this toolkit knows from Volta on; later GPUs compile the PTX when
  # they load it.
  execute_process(
    COMMAND "${CUDAToolkit_NVCC_EXECUTABLE}" --list-gpu-code
    OUTPUT_VARIABLE known
  )
  string(REGEX MATCHALL "sm_[0-9]+" known "${known}")
  list(TRANSFORM known REPLACE "sm_" "")
  list(SORT known COMPARE NATURAL)
  foreach(code IN LISTS known)
    if(code GREATER_EQUAL 70)
      list(APPEND architectures ${code})
    endif()
  endforeach()
endif()
list(GET architectures -1 newest)
set(NVCC_TARGETS "")
foreach(code IN LISTS architectures)
  list(APPEND NVCC_TARGETS -gencode "arch=compute_${code},code=sm_${code}")
endforeach()
list(
  APPEND NVCC_TARGETS -gencode "arch=compute_${newest},code=compute_${newest}"
)
message(
  STATUS
    "keras-radn: CUDA ${CUDAToolkit_VERSION} kernels for compute capabilities "
    "${architectures}"
)

if(KERAS_RADN_PTXAS_VERBOSE)
  list(APPEND NVCC_TARGETS -Xptxas -v)
endif()
set(KERAS_RADN_SOURCES "${CMAKE_CURRENT_LIST_DIR}/src")

function(add_cuda_object target source)
  get_filename_component(name "${source}" NAME_WE)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}.cu.o")
  add_custom_command(
    OUTPUT "${object}"
    COMMAND
      ${NVCC} -x cu -std=c++17 -O3 -DNDEBUG ${NVCC_TARGETS} --threads 2
      -Xcompiler=-fPIC,-fvisibility=hidden,-Wall
      "-I${KERAS_RADN_SOURCES}" -MD -MF "${object}.d" -c "${source}"
      -o "${object}"
    DEPENDS "${source}"
    DEPFILE "${object}.d"
    COMMENT "Compiling the CUDA kernels"
    VERBATIM
  )
  set_source_files_properties(
    "${object}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON
  )
  target_sources(${target} PRIVATE "${object}")
endfunction()
