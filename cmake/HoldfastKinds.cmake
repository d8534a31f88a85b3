# holdfast_shipped_kinds(TARGET): gives the target the rules in kinds/*.json as
# lab::ShippedKinds(), the files' own text, so that the binary has them wherever it is.
function(holdfast_shipped_kinds target)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kinds/*.json)
  set(entries "")
  foreach(file IN LISTS files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    cmake_path(GET file STEM name)
    file(READ ${file} rules)
    string(APPEND entries "    {\"${name}\", R\"rules(${rules})rules\"},\n")
  endforeach()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/shipped_kinds.cc)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
// Made from kinds/*.json by cmake/HoldfastKinds.cmake.
#include "lab/shipped_kinds.h"

namespace holdfast::lab {

std::span<const ShippedKind> ShippedKinds() {
  static constexpr ShippedKind kKinds[] = {
@entries@  };
  return kKinds;
}

}  // namespace holdfast::lab
]])
  target_sources(${target} PRIVATE ${source})
endfunction()
