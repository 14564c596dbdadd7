class JsHost: pass
