# Compiler settings and the two functions every module's CMakeLists.txt uses.

find_program(DAVIT_CCACHE ccache)
if(DAVIT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${DAVIT_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${DAVIT_CCACHE})
endif()
# The distribution's python, whose modules apt installs; another one found first in PATH may lack them.
find_program(DAVIT_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(DAVIT_PYTHON python3 REQUIRED)
find_program(DAVIT_LLD ld.lld)
if(DAVIT_LLD)
  add_link_options(-fuse-ld=lld)
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wimplicit-fallthrough -Werror -fno-strict-aliasing)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # false alarms on std::string of GCC 12 when optimising (GCC bug 105651)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-ffunction-sections -fdata-sections)
  add_link_options(-Wl,--gc-sections)
elseif(DAVIT_SANITIZE OR DAVIT_FUZZ)
  add_compile_options(-g1)  # functions and lines are what a report shows; the rest costs a fifth of the build
else()
  add_compile_options(-g)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # -Wno-sign-conversion: in C++ g++'s -Wconversion does not mean it; one meaning for both compilers
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-gnu-statement-expression> -Wthread-safety -Wno-sign-conversion)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
    set(CMAKE_CXX_STANDARD 20)  # clang 14 trips over parts of libstdc++ 12's C++23
  endif()
endif()
if(DAVIT_SANITIZE)
  add_compile_options(-fsanitize=${DAVIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DAVIT_SANITIZE})
  set(DAVIT_STATIC OFF)
endif()
if(DAVIT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined)
  add_link_options(-fsanitize=address,undefined)
  set(DAVIT_STATIC OFF)
endif()
if(DAVIT_TIDY)
  string(REGEX MATCH "^[0-9]+" clang_major "${CMAKE_CXX_COMPILER_VERSION}")  # the compiler's own: 14 on Debian 12, 19 on 13
  find_program(DAVIT_CLANG_TIDY NAMES clang-tidy-${clang_major} clang-tidy REQUIRED)
  set(CMAKE_CXX_CLANG_TIDY ${DAVIT_CLANG_TIDY})
endif()

# davit_test(NAME COMMAND ... [TIMEOUT seconds] [LABELS ...] [ENVIRONMENT A=b ...] [LOCKS ...]): registers one test. Every test
# of the project goes through here (tools/check_rules.py): the prefix lets ./check run several build trees in one ctest.
# Exit status 77 counts as skipped. LOCKS names what two tests must not use at once.
function(davit_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "COMMAND;LABELS;ENVIRONMENT;LOCKS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  set(full ${DAVIT_TEST_PREFIX}${name})
  add_test(NAME ${full} COMMAND ${T_COMMAND})
  set_tests_properties(${full} PROPERTIES
    SKIP_RETURN_CODE 77 TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}" RESOURCE_LOCK "${T_LOCKS}"
    ENVIRONMENT "DAVIT_BIN=${CMAKE_BINARY_DIR}/bin;DAVIT_RUNTIME=${CMAKE_BINARY_DIR}/bin/davit-runtime;${T_ENVIRONMENT}")
endfunction()

# davit_python_tests(LABEL FOLDER [TIMEOUT seconds] [LOCKS ...]): every test_*.py of the folder (pytest) becomes the test
# LABEL.NAME. EXCLUDE: names that this build tree leaves out. They find the programs by the environment: DAVIT_BIN (folder), DAVIT_RUNTIME (davit-runtime).
function(davit_python_tests label folder)
  cmake_parse_arguments(P "" "TIMEOUT" "LOCKS;ENVIRONMENT;EXCLUDE" ${ARGN})
  if(NOT P_TIMEOUT)
    set(P_TIMEOUT 600)
  endif()
  if(DAVIT_SANITIZE)
    # The leak checker stops its process by ptrace, which spins for ever in one that is not dumpable, as `exec` is on
    # purpose while it enters a container. The unit tests look for leaks.
    list(APPEND P_ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)
  endif()
  file(GLOB files CONFIGURE_DEPENDS ${folder}/test_*.py)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "^test_" "" name ${name})
    if(name IN_LIST P_EXCLUDE)
      continue()
    endif()
    davit_test(${label}.${name} COMMAND ${DAVIT_PYTHON} ${PROJECT_SOURCE_DIR}/tools/run_python_test.py ${file}
      TIMEOUT ${P_TIMEOUT} LABELS ${label} LOCKS ${P_LOCKS} ENVIRONMENT ${P_ENVIRONMENT})
  endforeach()
endfunction()

# davit_module(NAME dep...): every *.cc of the current folder (its sub-folders named in SUBDIRS included) that is not a
# test becomes one static library davit_NAME; every *_test.cc becomes one test program NAME_test.
function(davit_module name)
  cmake_parse_arguments(M "" "" "DEPS;LIBS;SUBDIRS" ${ARGN})
  set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(dir ${M_SUBDIRS})
    list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/${dir}/*.cc)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/empty.cc "")
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/empty.cc)
  endif()
  add_library(davit_${name} STATIC ${sources})
  target_include_directories(davit_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  foreach(dep ${M_DEPS})
    target_link_libraries(davit_${name} PUBLIC davit_${dep})
  endforeach()
  target_link_libraries(davit_${name} PUBLIC ${M_LIBS})
  if(tests AND DAVIT_UNIT_TESTS AND NOT DAVIT_FUZZ AND NOT DAVIT_TIDY)
    find_package(GTest REQUIRED)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test davit_${name} GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE DAVIT_TESTDATA="${CMAKE_CURRENT_SOURCE_DIR}/testdata")
    # -Wno-shadow: INSTANTIATE_TEST_SUITE_P has a parameter `info` of its own around the usual name function
    target_compile_options(${name}_test PRIVATE -Wno-conversion -Wno-shadow)
    davit_test(unit.${name} COMMAND ${name}_test TIMEOUT 120 LABELS unit)
  endif()
endfunction()

# davit_static(TARGET): links a program statically and at a fixed address. Not a static PIE: its relocations would dirty
# about 60 KiB of private memory in every monitor (docs/adr/0003-static-runtime.md).
function(davit_static target)
  if(DAVIT_STATIC)
    target_link_options(${target} PRIVATE -static -no-pie)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  endif()
endfunction()
