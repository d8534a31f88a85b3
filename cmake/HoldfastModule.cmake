# holdfast_module(PATH [APART] DEPS target...): the folder src/PATH as the object library
# holdfast_PATH. With APART it is no part of the library that is installed: the binary and the tests
# link it beside.
# Every .cc file in the folder belongs to it, so that none can be in the tree and not in the build.

add_library(holdfast_warnings INTERFACE)
target_compile_options(holdfast_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wunused
  $<$<BOOL:${HOLDFAST_WERROR}>:-Werror>
  # clang 19 reports what std::stable_sort of libstdc++ 12 uses itself.
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wthread-safety-beta -Wno-deprecated-declarations>
  # g++ 12 reports std::expected and std::string internals wrongly at -O2.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overread>
  # Of files that are compiled as one, it takes all for headers.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wno-subobject-linkage>
  # Designated initialisers that leave the defaults alone are how specs are meant to be written.
  -Wno-missing-field-initializers)
target_compile_definitions(holdfast_warnings INTERFACE
  $<$<BOOL:${HOLDFAST_CHECK_RANKS}>:HOLDFAST_CHECK_RANKS>
  $<$<BOOL:${HOLDFAST_MUTANTS}>:HOLDFAST_MUTANTS>)

# The presets compile several files as one (CMAKE_UNITY_BUILD), which is a third of what one by one
# costs; the command line and the tests are compiled so always. Names in anonymous namespaces are
# therefore unique in a folder, except in files that are compiled alone everywhere.
function(holdfast_compiled_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The headers that nearly every file of the library includes, compiled once where files are compiled
# as one. None of ours: ccache and g++ would not know them again in another tree.
if(CMAKE_UNITY_BUILD)
  set(library_headers ${CMAKE_CURRENT_BINARY_DIR}/library_headers.cc)
  file(CONFIGURE OUTPUT ${library_headers} CONTENT "")
  add_library(holdfast_headers OBJECT ${library_headers})
  target_link_libraries(holdfast_headers PRIVATE
    fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json)
  target_include_directories(holdfast_headers PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_precompile_headers(holdfast_headers PRIVATE
    <algorithm> <atomic> <deque> <functional> <map> <memory> <optional> <set> <span> <string>
    <thread> <tuple> <unordered_map> <vector> <fmt/format.h> <nlohmann/json.hpp>)
endif()

function(holdfast_module path)
  cmake_parse_arguments(arg "APART" "" "DEPS" ${ARGN})
  string(REPLACE "/" "_" name "holdfast_${path}")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/${path}/*.cc)
  if(NOT sources)
    return()
  endif()
  if(arg_APART)
    # One unit, because each generates anew what it instantiates of the headers; and optimised no
    # more than what is not the store needs: a third of the time in all.
    add_library(${name} STATIC ${sources})
    set_target_properties(${name} PROPERTIES UNITY_BUILD_BATCH_SIZE 40)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  else()
    add_library(${name} OBJECT ${sources})
    set_property(GLOBAL APPEND PROPERTY HOLDFAST_MODULES ${name})
  endif()
  target_include_directories(${name}
    PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(${name} PUBLIC ${arg_DEPS} PRIVATE holdfast_warnings)
  if(TARGET holdfast_headers)
    target_precompile_headers(${name} REUSE_FROM holdfast_headers)
  endif()
endfunction()
