# What `cmake --install` lays down: the program, the libraries with their headers and a package
# description (find_package(quern)), the manual page and the completions.
include(CMakePackageConfigHelpers)

set(rooms base report tensor formats kernels graph model sizing data features run metrics task infer
  train explain cli)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quern)

target_compile_features(quern_settings INTERFACE cxx_std_20)
add_library(quern_all INTERFACE)
list(TRANSFORM rooms PREPEND quern_ OUTPUT_VARIABLE libraries)
target_link_libraries(quern_all INTERFACE ${libraries})
set_target_properties(quern_all PROPERTIES EXPORT_NAME quern)
set_target_properties(quern_settings PROPERTIES EXPORT_NAME settings)
foreach(room ${rooms})
  set_target_properties(quern_${room} PROPERTIES EXPORT_NAME ${room})
endforeach()

install(TARGETS quern RUNTIME COMPONENT program)
if(TARGET quern_mpi)
  install(TARGETS quern_mpi LIBRARY DESTINATION lib/quern COMPONENT program)
endif()
if(TARGET quern_cudnn)
  install(TARGETS quern_cudnn LIBRARY DESTINATION lib/quern COMPONENT program)
endif()
install(TARGETS quern_all quern_settings ${libraries} EXPORT quern
  ARCHIVE COMPONENT development)
install(EXPORT quern NAMESPACE quern:: DESTINATION ${package_dir} COMPONENT development)
install(DIRECTORY quern DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE PATTERN "*test*" EXCLUDE)

configure_package_config_file(cmake/quernConfig.cmake.in quernConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(quernConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/quernConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/quernConfigVersion.cmake cmake/quern_dependencies.cmake
  cmake/quern_switch.cmake DESTINATION ${package_dir} COMPONENT development)

install(FILES docs/quern.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES cmake/completions/quern.bash RENAME quern
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
install(FILES cmake/completions/quern.zsh RENAME _quern
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT program)
install(FILES cmake/completions/quern.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)
install(FILES LICENSE README.md README.zh-CN.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
