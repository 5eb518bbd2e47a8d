#include "loop/fd_stream.h"

#include <gtest/gtest.h>

#include <thread>

#include "sys/file.h"
#include "sys/pipe.h"
#include "sys/testing/temp_dir.h"

namespace davit::loop {
namespace {

TEST(FdStream, CopiesAFileFromWhereItStands) {
  sys::testing::TempDir dir;
  std::string text;
  while (text.size() < 700'000) text += std::to_string(text.size()) + "\n";
  UniqueFd const file = sys::open(dir / "file", O_RDWR | O_CREAT, 0600).value();
  FdSink sink(file.get());
  ASSERT_TRUE(sink.write(text).ok());
  struct Case {
    off_t from;
    std::uint64_t limit;
  };
  for (Case const& one : {Case{0, UINT64_MAX}, Case{5, UINT64_MAX}, Case{5, 10}, Case{0, 300'000}, Case{0, 700'000},
                          Case{0, 0}, Case{0, text.size()}, Case{static_cast<off_t>(text.size()), 7}}) {
    ASSERT_EQ(::lseek(file.get(), one.from, SEEK_SET), one.from);
    FdSource source(file.get(), one.limit);
    EXPECT_EQ(codec::read_all(source, text.size()).value(), text.substr(static_cast<std::size_t>(one.from), one.limit));
    EXPECT_EQ(source.next().value(), "");
  }
}

TEST(FdStream, ReadsAPipeUntilItsWritersAreGone) {
  sys::Pipe pipe = sys::pipe().value();
  std::string const text(500'000, 'x');
  std::thread writer([&] {
    FdSink sink(pipe.write_end.get());
    EXPECT_TRUE(sink.write(text).ok());
    pipe.write_end.reset();
  });
  FdSource source(pipe.read_end.get());
  EXPECT_EQ(codec::read_all(source, text.size()).value(), text);
  writer.join();
}

TEST(FdStream, NamesTheErrno) {
  FdSource source(-1);
  EXPECT_EQ(source.next().error().error_number(), EBADF);
  FdSink sink(-1);
  EXPECT_EQ(sink.write("x").error().error_number(), EBADF);
}

}  // namespace
}  // namespace davit::loop
