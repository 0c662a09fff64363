# For ROS 2 from Python wheels only; give it as -DCMAKE_PROJECT_INCLUDE=cmake/relocate_wheels.cmake.
#
# Targets that the wheels export carry include directories of the machine that built the wheels (its
# NumPy headers). CMake refuses to generate with them. Before it does, they are dropped from every
# imported target; the directories that count come from the Python found on this machine. The targets
# built here would be exported with the same flaw, and CMake refuses that too when the environment lies
# inside the source tree: theirs are kept for the build and left out of the export.

if(CMAKE_VERSION VERSION_LESS 3.21)
  message(FATAL_ERROR "Building against ROS wheels needs CMake 3.21 or newer, got ${CMAKE_VERSION}")
endif()

function(_relocate_include_directories)
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
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()

  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(relocatable)
    foreach(directory IN LISTS directories)
      if(IS_ABSOLUTE "${directory}")
        set(directory "$<BUILD_INTERFACE:${directory}>")
      endif()
      list(APPEND relocatable "${directory}")
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${relocatable}")
  endforeach()
endfunction()

cmake_language(DEFER CALL _relocate_include_directories)
