#include "monitor/exit_record.h"

#include <fcntl.h>

#include "base/text.h"
#include "codec/json_writer.h"
#include "sys/file.h"

namespace davit::monitor {

std::string ExitRecord::to_json() const {
  json::Object json;
  json.add("version", 1).add("id", id).add("pid", pid).add("exit_code", exit_code).add("signal", signal);
  json.add("oom_killed", oom_killed);
  if (started_at != 0) json.add("started_at", rfc3339_nanos(started_at));
  json.add("finished_at", rfc3339_nanos(finished_at));
  return json.text();
}

Result<void> ExitRecord::save(std::string const& path) const {
  std::size_t const slash = path.rfind('/');
  std::string const dir_path = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd const dir = TRY_CTX(sys::open(dir_path, O_RDONLY | O_DIRECTORY), "save the exit record");
  std::string const name = slash == std::string::npos ? path : path.substr(slash + 1);
  TRY_CTX(sys::replace_file_at(dir.get(), name, to_json() + "\n", 0644, sys::Durability::kSync),
          "save the exit record");
  return {};
}

}  // namespace davit::monitor
