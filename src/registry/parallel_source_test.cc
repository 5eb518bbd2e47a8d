#include "registry/parallel_source.h"

#include <atomic>
#include <thread>

#include "registry/testing/client_fixture.h"

namespace davit::registry {
namespace {

using namespace std::chrono_literals;
using testing::answer_range;
using wire::testing::Answer;
using wire::testing::HttpServer;
using wire::testing::RecordedRequest;

class Parallel : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kWindow = 100'000;
  std::string const blob_ = testing::some_bytes(1'234'567);
  wire::HttpClient http_{{}};
  std::unique_ptr<HttpServer> server_;
  std::stop_source stop_;

  void serve(HttpServer::Handler handler) { server_ = std::make_unique<HttpServer>(std::move(handler)); }
  OpenRange open() {
    return [this](ByteRange const& range, std::stop_token const& stop) -> Result<std::unique_ptr<wire::HttpResponse>> {
      wire::HttpRequest request;
      request.url = wire::Url::parse(server_->url("/blob")).value();
      if (!range.header().empty()) request.headers.emplace_back("Range", range.header());
      auto response = TRY(http_.send(request, stop));
      if (response->status() >= 300) return Error(Errc::kNotFound, "no");
      return response;
    };
  }
  BlobSource::Plan plan(std::uint64_t begin = 0) {
    return {begin, blob_.size(), blob_.size(), {3, 1ms}, stop_.get_token()};
  }
};

TEST_F(Parallel, WindowsComeInOrder) {
  std::atomic<unsigned> delay = 0;
  serve([&](RecordedRequest const& request) {
    std::this_thread::sleep_for(std::chrono::milliseconds((delay += 7) % 11));
    return answer_range(request, blob_);
  });
  for (unsigned const connections : {1U, 2U, 3U, 50U}) {
    WindowsSource source(open(), plan(77), connections, kWindow);
    EXPECT_TRUE(codec::read_all(source, 2'000'000).value() == blob_.substr(77)) << connections;
    EXPECT_TRUE(source.next()->empty());
  }
}

TEST_F(Parallel, NoMoreThanOneBufferForEachConnectionIsAskedFor) {
  std::atomic<int> requests = 0;
  serve([&](RecordedRequest const& request) {
    ++requests;
    return answer_range(request, blob_);
  });
  WindowsSource source(open(), plan(), 3, kWindow);
  EXPECT_TRUE(source.next().ok());
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(requests, 3);
}

TEST_F(Parallel, BrokenConnectionsAreMended) {
  std::atomic<int> requests = 0;
  serve([&](RecordedRequest const& request) {
    Answer answer = answer_range(request, blob_);
    if (++requests % 2 == 0) return answer;
    return Answer::raw(answer.bytes.substr(0, answer.bytes.size() / 2), true);
  });
  WindowsSource source(open(), plan(), 3, kWindow);
  EXPECT_TRUE(codec::read_all(source, 2'000'000).value() == blob_);
}

TEST_F(Parallel, AnErrorComesAfterTheBytesBeforeIt) {
  serve([&](RecordedRequest const& request) {
    auto const range = testing::asked_range(request, blob_.size());
    return range && range->first >= 500'000 ? Answer::of(404, "") : answer_range(request, blob_);
  });
  WindowsSource source(open(), plan(), 3, kWindow);
  std::uint64_t size = 0;
  for (;;) {
    auto const bytes = source.next();
    if (!bytes.ok()) {
      EXPECT_EQ(bytes.error().code(), Errc::kNotFound);
      break;
    }
    ASSERT_FALSE(bytes->empty());
    size += bytes->size();
  }
  EXPECT_EQ(size, 500'000U);
}

TEST_F(Parallel, StopEndsIt) {
  serve([&](RecordedRequest const& request) {
    std::this_thread::sleep_for(300ms);
    return answer_range(request, blob_);
  });
  WindowsSource source(open(), plan(), 3, kWindow);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(20ms);
    stop_.request_stop();
  });
  EXPECT_EQ(source.next().error().code(), Errc::kCancelled);
}

TEST_F(Parallel, MayBeDroppedAtAnyTime) {
  serve([&](RecordedRequest const& request) { return answer_range(request, blob_); });
  for (int i = 0; i < 20; ++i) {
    WindowsSource source(open(), plan(), 3, kWindow);
    for (int n = 0; n < i % 5; ++n) EXPECT_TRUE(source.next().ok());
  }
}

TEST_F(Parallel, AServerWithoutRangesIsReadByOneConnection) {
  std::atomic<int> requests = 0;
  serve([&](RecordedRequest const&) {
    ++requests;
    return Answer::of(200, blob_);
  });
  for (std::uint64_t const begin : {0U, 5000U}) {
    AdaptiveSource source(open(), plan(begin), 3, AdaptiveSource::Choice::kAlwaysParallel, kWindow);
    EXPECT_TRUE(codec::read_all(source, 2'000'000).value() == blob_.substr(begin));
  }
  EXPECT_EQ(requests, 2);
}

TEST_F(Parallel, BothWaysGiveTheSame) {
  serve([&](RecordedRequest const& request) { return answer_range(request, blob_); });
  for (auto const choice : {AdaptiveSource::Choice::kAlwaysParallel, AdaptiveSource::Choice::kMeasure}) {
    AdaptiveSource source(open(), plan(3), 3, choice, kWindow);
    EXPECT_TRUE(codec::read_all(source, 2'000'000).value() == blob_.substr(3));
  }
}

TEST_F(Parallel, ASlowNetworkGetsSeveralConnections) {
  std::atomic<int> requests = 0;
  serve([&](RecordedRequest const& request) {
    ++requests;
    std::this_thread::sleep_for(5ms);
    return answer_range(request, blob_);
  });
  AdaptiveSource source(open(), plan(), 3, AdaptiveSource::Choice::kMeasure, kWindow);
  EXPECT_TRUE(codec::read_all(source, 2'000'000).value() == blob_);
  EXPECT_EQ(requests, 13);
}

}  // namespace
}  // namespace davit::registry
