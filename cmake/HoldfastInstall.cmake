# What `cmake --install` puts where: headers, library, binary, kinds to start from, and the files by
# which CMake and pkg-config find them again. Both are relocatable: no path of this machine is
# written into them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/holdfast)

install(DIRECTORY include/holdfast DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN *.h)
install(DIRECTORY kinds DESTINATION ${CMAKE_INSTALL_DATADIR}/holdfast
  FILES_MATCHING PATTERN *.json)
install(TARGETS holdfast EXPORT holdfast-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET holdfast_cli)
  install(TARGETS holdfast_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT holdfast-targets NAMESPACE holdfast:: DESTINATION ${package_dir})

get_target_property(HOLDFAST_LIBRARY_TYPE holdfast TYPE)
configure_package_config_file(cmake/holdfast-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor release may change the contract.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/holdfast-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config-version.cmake
  DESTINATION ${package_dir})

# What a program must link to besides: all of it where the library is an archive, which says nothing
# of what it needs; nothing where the library does.
set(HOLDFAST_PC_LIBS "-lpq -lstdc++ -pthread")
set(HOLDFAST_PC_REQUIRES "Requires")
if(NOT HOLDFAST_LIBRARY_TYPE STREQUAL "STATIC_LIBRARY")
  set(HOLDFAST_PC_LIBS_PRIVATE "${HOLDFAST_PC_LIBS}")
  set(HOLDFAST_PC_LIBS "")
  set(HOLDFAST_PC_REQUIRES "Requires.private")
endif()
file(RELATIVE_PATH HOLDFAST_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/holdfast.pc.in ${CMAKE_CURRENT_BINARY_DIR}/holdfast.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/holdfast.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
