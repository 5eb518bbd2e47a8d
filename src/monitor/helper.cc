#include "monitor/helper.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "sys/children.h"
#include "sys/file.h"
#include "sys/kernel_calls.h"
#include "sys/pipe.h"

namespace davit::monitor {

namespace {
// Answer on the pipe, both sides being this program: length of the rest, 0 or error code + 1, errno, text.
struct AnswerHeader {
  std::uint32_t size;
  std::uint32_t status;
  std::int32_t error_number;
};

std::string encode_answer(Result<std::string> result) {
  if (!result) result = sys::explain_missing_call(std::move(result).take_error());
  AnswerHeader header{};
  std::string text = result ? result.value() : result.error().to_string();
  if (text.size() > Helpers::kMaxAnswer) text.resize(Helpers::kMaxAnswer);
  header.size = static_cast<std::uint32_t>(text.size());
  if (!result) {
    header.status = static_cast<std::uint32_t>(result.error().code()) + 1;
    header.error_number = result.error().error_number();
  }
  std::string answer(sizeof header, '\0');
  std::memcpy(answer.data(), &header, sizeof header);
  return answer + text;
}

// False while the answer is not complete.
bool complete(std::string const& answer, AnswerHeader& header) {
  if (answer.size() < sizeof header) return false;
  std::memcpy(&header, answer.data(), sizeof header);
  return answer.size() - sizeof header >= header.size;
}
}  // namespace

Result<void> Helpers::start(Work const& work, Done done) {
  sys::Pipe pipe = TRY(sys::pipe());
  pid_t const pid = TRY(sys::fork());
  if (pid == 0) {
    sys::restore_signals();
    pipe.read_end.reset();
    (void)sys::write_all(pipe.write_end.get(), encode_answer(work()));
    sys::exit_now(0);
  }
  TRY(sys::set_nonblocking(pipe.read_end.get()));
  running_.push_back({std::move(pipe.read_end), {}, {}, std::move(done)});
  auto const helper = std::prev(running_.end());
  Result<loop::Watch> watch =
      loop_.watch(helper->answer.get(), EPOLLIN, [this, helper](std::uint32_t) { on_readable(helper); });
  if (!watch) {
    running_.erase(helper);
    return std::move(watch).take_error();
  }
  helper->watch = std::move(watch).value();
  return {};
}

void Helpers::on_readable(std::list<Running>::iterator helper) {
  std::array<char, 4096> bytes;
  Result<sys::Transfer> const transfer = sys::read_now(helper->answer.get(), bytes);
  if (transfer && transfer->state == sys::Transfer::State::kWouldBlock) return;
  if (transfer && transfer->state == sys::Transfer::State::kDone) helper->received.append(bytes.data(), transfer->size);
  AnswerHeader header{};
  // By length and not by end of file: a process that the helper left behind may hold the pipe.
  bool const whole = complete(helper->received, header);
  if (!whole && transfer && transfer->state == sys::Transfer::State::kDone) return;

  Done const done = std::move(helper->done);
  std::string const text = whole ? helper->received.substr(sizeof header, header.size) : std::string();
  running_.erase(helper);
  if (!whole) return done(Error(Errc::kInternal, "a helper process ended without an answer"));
  if (header.status == 0) return done(text);
  done(Error(static_cast<Errc>(header.status - 1), text, header.error_number));
}

}  // namespace davit::monitor
