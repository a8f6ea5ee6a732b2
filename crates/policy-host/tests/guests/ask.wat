;; A policy that accepts any settings and, asked to validate, makes one host call.
;; The answer becomes the mutated object; an error becomes the guest's error, as it came.
;; {{IMAGE}} and {{IMAGE_LEN}} are filled in by the test.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (import "wapc" "__guest_error" (func $guest_error (param i32 i32)))
  (import "wapc" "__host_call" (func $host_call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_response" (func $host_response (param i32)))
  (import "wapc" "__host_response_len" (func $host_response_len (result i32)))
  (import "wapc" "__host_error" (func $host_error (param i32)))
  (import "wapc" "__host_error_len" (func $host_error_len (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "{\"valid\":true}")
  (data (i32.const 32) "kubewarden")
  (data (i32.const 64) "oci")
  (data (i32.const 96) "v1/oci_manifest")
  (data (i32.const 128) "{{IMAGE}}")
  (data (i32.const 1024) "{\"accepted\":true,\"mutated_object\":")
  (func (export "__guest_call") (param $operation_len i32) (param $payload_len i32) (result i32)
    (local $len i32)
    ;; "validate" has 8 letters, "validate_settings" 17
    (if (i32.ne (local.get $operation_len) (i32.const 8))
      (then
        (call $guest_response (i32.const 0) (i32.const 14))
        (return (i32.const 1))))
    (if (call $host_call
          (i32.const 32) (i32.const 10)
          (i32.const 64) (i32.const 3)
          (i32.const 96) (i32.const 15)
          (i32.const 128) (i32.const {{IMAGE_LEN}}))
      (then
        (local.set $len (call $host_response_len))
        (call $host_response (i32.const 1058))
        (i32.store8 (i32.add (i32.const 1058) (local.get $len)) (i32.const 125)) ;; '}'
        (call $guest_response (i32.const 1024) (i32.add (local.get $len) (i32.const 35)))
        (return (i32.const 1))))
    (local.set $len (call $host_error_len))
    (call $host_error (i32.const 4096))
    (call $guest_error (i32.const 4096) (local.get $len))
    (i32.const 0)))
