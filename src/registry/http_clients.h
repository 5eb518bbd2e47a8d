// HTTP clients that differ in their connect time-out (hosts.toml's dial_timeout), made when first needed. Any thread.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "wire/http_client.h"

namespace davit::registry {

class HttpClients {
 public:
  explicit HttpClients(wire::HttpClient::Options options) : options_(std::move(options)), usual_(options_) {}

  wire::HttpClient& get(std::optional<std::chrono::milliseconds> connect_timeout) {
    if (!connect_timeout) return usual_;
    std::lock_guard const lock(mutex_);
    auto& client = others_[*connect_timeout];
    if (client == nullptr) {
      wire::HttpClient::Options options = options_;
      options.timeouts.connect = *connect_timeout;
      client = std::make_unique<wire::HttpClient>(std::move(options));
    }
    return *client;
  }

 private:
  wire::HttpClient::Options const options_;
  wire::HttpClient usual_;
  std::mutex mutex_;
  std::map<std::chrono::milliseconds, std::unique_ptr<wire::HttpClient>> others_;
};

}  // namespace davit::registry
