// Beast's HTTP/1.1 parser, filling our own messages: no second container of headers, no second copy
// of the body, and our own limit on it. Internal; includes Beast.
#pragma once

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "net/http.h"

namespace holdfast::net {

namespace http = boost::beast::http;
using boost::system::error_code;

/// Parses one message. Feed it with put(): it stops once after the header, so that the body's limit
/// can depend on what is asked for, and goes on with the body after ReadBody.
template <bool kIsRequest>
class MessageParser : public http::basic_parser<kIsRequest> {
 public:
  void ReadBody(std::size_t limit) {
    limit_ = limit;
    this->eager(true);
    if (auto length = this->content_length(); length && *length <= limit_) {
      body_->reserve(*length + kParserSlack);
    }
  }

 protected:
  using View = boost::beast::string_view;
  // What parsers that read ahead may touch behind the end of a body.
  static constexpr std::size_t kParserSlack = 64;

  MessageParser(Headers* headers, std::string* body) : headers_(headers), body_(body) {
    this->body_limit(boost::none);
  }

  void on_request_impl(http::verb, View, View, int, error_code&) override {}
  void on_response_impl(int, View, int, error_code&) override {}
  void on_field_impl(http::field, View name, View value, error_code&) override {
    // Trailers of a chunked body are read and dropped: nobody may smuggle a header past a check.
    if (!this->is_header_done()) headers_->emplace_back(name, value);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code& ec) override {
    if (length && *length > limit_) ec = http::error::body_limit;
  }
  std::size_t on_body_impl(View piece, error_code& ec) override {
    if (piece.size() > limit_ - body_->size()) {
      ec = http::error::body_limit;
      return 0;
    }
    body_->append(piece);
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t size, View, error_code& ec) override {
    if (size > limit_ - body_->size()) ec = http::error::body_limit;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, View piece, error_code& ec) override {
    return on_body_impl(piece, ec);
  }
  void on_finish_impl(error_code&) override {
    if (!body_->empty()) body_->reserve(body_->size() + kParserSlack);
  }

 private:
  Headers* headers_;
  std::string* body_;
  std::size_t limit_ = 0;
};

class RequestParser final : public MessageParser<true> {
 public:
  RequestParser() : MessageParser(&message.headers, &message.body) {}
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  HttpRequest message;
  bool is_http_1_0 = false;

 private:
  void on_request_impl(http::verb, View method, View target, int version, error_code&) override {
    message.method = method;
    message.target = target;
    is_http_1_0 = version == 10;
  }
};

class ResponseParser final : public MessageParser<false> {
 public:
  ResponseParser() : MessageParser(&message.headers, &message.body) {}
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  HttpResponse message;

 private:
  void on_response_impl(int status, View, int, error_code&) override { message.status = status; }
};

}  // namespace holdfast::net
