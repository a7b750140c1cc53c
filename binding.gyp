{
  "targets": [
    {
      "target_name": "fauxdax",
      # Every .cc of native/ is part of the addon; after adding one, run node-gyp configure.
      "variables": {
        "list_sources": "require('fs').readdirSync('native').filter(f => f.endsWith('.cc')).sort()"
      },
      "sources": ["<!@(node -p \"<(list_sources).map(f => 'native/' + f).join(' ')\")"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NAPI_CPP_EXCEPTIONS",
        "_FILE_OFFSET_BITS=64"
      ],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": [
        "-std=c++20",
        "-O2",
        "-fexceptions",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Werror"
      ]
    },
    {
      # Runs the commands of a test; see the top of actor.c.
      "target_name": "warden",
      "type": "executable",
      "sources": ["native/warden.c"],
      "cflags": ["-std=c17", "-O2", "-Wall", "-Wextra", "-Werror"]
    },
    {
      # The processes of `fauxdax race --live`; see the top of actor.c.
      "target_name": "actor",
      "type": "executable",
      "sources": ["native/actor.c", "native/actor_calls.c"],
      "cflags": ["-std=c17", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror"],
      "ldflags": ["-pthread"],
      "libraries": ["-ldl"]
    },
    {
      # Preloaded into programs by `fauxdax run`; see native/shim.h. Its threads have no thread-local
      # storage: no stack protector, and every symbol is found before the first of them starts.
      "target_name": "shim",
      "type": "shared_library",
      "product_dir": "<(PRODUCT_DIR)",
      "product_prefix": "",
      "product_extension": "so",
      "variables": {
        "list_sources": "require('fs').readdirSync('native').filter(f => /^shim.*\\.c$/.test(f)).sort()"
      },
      "sources": ["<!@(node -p \"<(list_sources).map(f => 'native/' + f).join(' ')\")"],
      "defines!": ["_FILE_OFFSET_BITS=64"],
      "cflags": [
        "-std=c17",
        "-O2",
        "-fPIC",
        "-fvisibility=hidden",
        "-fno-stack-protector",
        "-Wall",
        "-Wextra",
        "-Werror"
      ],
      "ldflags": ["-Wl,-z,now", "-Wl,-z,defs"]
    }
  ]
}
