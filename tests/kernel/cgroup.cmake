# The cgroup module on the machine's own hierarchies, in directories of its own.
find_package(GTest REQUIRED)
add_executable(cgroup_kernel_test ${CMAKE_CURRENT_LIST_DIR}/cgroup_test.cc)
target_link_libraries(cgroup_kernel_test davit_runtime GTest::gtest_main)
target_compile_options(cgroup_kernel_test PRIVATE -Wno-conversion -Wno-shadow)
davit_test(kernel.cgroup_groups COMMAND cgroup_kernel_test LABELS kernel)
