# For ROS 2 from Python wheels only; give it as -DCMAKE_PROJECT_INCLUDE=cmake/relocate_wheels.cmake.
#
# Targets that the wheels export carry include directories of the machine that built the wheels (its
# Python and NumPy headers). CMake refuses to generate with them. Before it does, they are dropped from
# every imported target; the directories that count come from the Python found on this machine.

if(CMAKE_VERSION VERSION_LESS 3.21)
  message(FATAL_ERROR "Building against ROS wheels needs CMake 3.21 or newer, got ${CMAKE_VERSION}")
endif()

function(_drop_missing_include_directories)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(present)
    foreach(directory IN LISTS directories)
      # Generator expressions and relative paths are left for CMake to judge.
      if(NOT IS_ABSOLUTE "${directory}" OR EXISTS "${directory}")
        list(APPEND present "${directory}")
      endif()
    endforeach()
    if(NOT present STREQUAL directories)
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
    endif()
  endforeach()
endfunction()

cmake_language(DEFER CALL _drop_missing_include_directories)
